"""Who is told of each checkpoint once it is durable: in one thread, one checkpoint at a time.

The training loop only puts a handle into a queue. What a follower does, an upload say, may take as
long as it likes; what goes wrong with it is told, and is no business of training.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

from holdfast.distributed.ranks import Ranks
from holdfast.engine.handle import SaveHandle
from holdfast.errors import UsageError
from holdfast.history.info import CheckpointInfo

_log = logging.getLogger("holdfast")

# The second argument is the ``Store`` that the checkpoint is in; it is made further up.
Follower = Callable[[CheckpointInfo, Any], object]
# How long the end of training waits before it says what for, in seconds.
_QUIET_S = 10.0


@final
class Followers:
    """Calls those that follow a run, in the order of saves.

    Args:
        given: One follower or several.
        store: What they are given besides.
        ranks: Those that save together: the followers of the first rank are called.

    Raises:
        UsageError: One cannot be called.
    """

    def __init__(
        self, given: Follower | Sequence[Follower], store: object, ranks: Ranks | None = None
    ) -> None:
        # What is neither is refused like one of several.
        several: object = (given,) if callable(given) else given
        followers = tuple(several) if isinstance(several, Iterable) else (several,)
        for follower in followers:
            if not callable(follower):
                raise UsageError(
                    "on_saved= takes what can be called with a CheckpointInfo and a Store, or a "
                    f"list of such, not a {type(follower).__name__}."
                )
        self._followers = followers if ranks is None or not ranks.rank else ()
        self._store = store
        self._queue: queue.SimpleQueue[SaveHandle | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def add(self, handle: SaveHandle) -> None:
        """Let the followers be called once a save is durable; never waits."""
        if not self._followers:
            return
        self._queue.put(handle)
        if self._thread is None:
            # A daemon: who interrupts the wait at the end shall not be made to wait after all.
            self._thread = threading.Thread(
                target=self._work, name="holdfast-followers", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Wait until the followers were called for every save that is durable."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._queue.put(None)
        # What is no longer used may be closed from any thread, this one too.
        if thread is threading.current_thread():
            return
        thread.join(_QUIET_S)
        if thread.is_alive():
            _log.warning(
                "All checkpoints are durable; what on_saved= does with them is waited for. It can "
                "be interrupted without harm to them."
            )
            thread.join()

    def _work(self) -> None:
        while (handle := self._queue.get()) is not None:
            handle.wait_ended()
            if handle.error is None:
                self._tell(handle.info)

    def _tell(self, info: CheckpointInfo) -> None:
        for follower in self._followers:
            try:
                follower(info, self._store)
            except Exception as error:
                _log.warning(
                    "%s is durable, but what on_saved= does with it failed (%r): %s: %s",
                    info.ref,
                    follower,
                    type(error).__name__,
                    error,
                )
