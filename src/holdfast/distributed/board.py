"""What ranks write for one another to read, carried by a thread, read from memory.

Who writes goes on at once, and who reads what has come does too: no training step waits for a
network. Only the newest of what is written counts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol, final, runtime_checkable

_log = logging.getLogger("holdfast")

# Looked at so often while nobody waits, and while somebody does.
_PAUSE_S = 0.2
_FIRST_WAIT_S, _LAST_WAIT_S = 0.001, 0.02
# Looks of all ranks together, by the second, that the place where they look is asked to bear.
_LOOKS_PER_S = 4000.0
_CLOSE_S = 5.0


@runtime_checkable
class Posts(Protocol):
    """A place where every rank can write under a key, and look; both return soon."""

    def post(self, key: str, value: str) -> None:
        """Write a value under a key, in place of what is there."""
        ...

    def peek(self, key: str) -> str | None:
        """Return what is under a key; None where nothing is yet."""
        ...


@final
class Board:
    """What this rank writes, and what it has read of another's.

    Args:
        posts: Where it is written. Only the board's own thread uses it.
        world_size: How many ranks look at it.
    """

    def __init__(self, posts: Posts, world_size: int) -> None:
        self._posts = posts
        self._pause_s = max(_PAUSE_S, world_size / _LOOKS_PER_S)
        self._changed = threading.Condition()
        self._keys = ("", "")
        self._writes: str | None = None
        self._found: str | None = None
        self._n_waiting = 0
        self._is_closed = False
        self._is_broken = False
        self._thread: threading.Thread | None = None

    @property
    def found(self) -> str | None:
        """What was read last."""
        return self._found

    def begin(self, reads: str, writes: str) -> None:
        """Look at a key, and write to another, from now on; what was found before is forgotten."""
        with self._changed:
            self._keys, self._writes, self._found = (reads, writes), None, None

    def write(self, value: str) -> None:
        """Write a value; returns at once."""
        with self._changed:
            self._writes = value
            self._start()
            self._changed.notify_all()

    def wait(self, is_enough: Callable[[str], bool], patience_s: float) -> bool:
        """Wait until what is found is enough; say whether it is.

        Where nothing can be read at all, that is so at once.
        """
        until_s = time.monotonic() + patience_s
        with self._changed:
            self._n_waiting += 1
            self._start()
            self._changed.notify_all()
            try:
                while not (self._found is not None and is_enough(self._found)):
                    left_s = until_s - time.monotonic()
                    if left_s <= 0.0 or self._is_broken or self._is_closed:
                        return False
                    self._changed.wait(left_s)
                return True
            finally:
                self._n_waiting -= 1

    def close(self) -> None:
        """Write what is still to be written, and end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            # It may hang in the network; a training that is over does not wait for that.
            self._thread.join(_CLOSE_S)

    def _start(self) -> None:
        if self._thread is None and not self._is_closed:
            # A daemon: a training that ends without a word must not be kept by it.
            self._thread = threading.Thread(target=self._work, name="holdfast-board", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        pause_s = 0.0
        while True:
            with self._changed:
                if (self._writes is None or self._is_broken) and not self._is_closed:
                    self._changed.wait(self._pause_s if self._is_broken else pause_s)
                (reads, writes), value, self._writes = self._keys, self._writes, None
                is_waited_for, is_closed = self._n_waiting > 0, self._is_closed
            is_new = self._carry(reads, writes, value)
            if is_closed:
                return
            if is_new or not is_waited_for:
                pause_s = _FIRST_WAIT_S if is_waited_for else self._pause_s
            else:
                pause_s = min(max(pause_s, _FIRST_WAIT_S) * 1.5, _LAST_WAIT_S)

    def _carry(self, reads: str, writes: str, value: str | None) -> bool:
        """Write and look once; say whether something new was found."""
        try:
            if value is not None:
                self._posts.post(writes, value)
            found = self._posts.peek(reads) if reads else None
        except Exception as error:
            self._break(error, value)
            return False
        with self._changed:
            self._is_broken = False
            if found is None or found == self._found or reads != self._keys[0]:
                return False
            self._found = found
            self._changed.notify_all()
        return True

    def _break(self, error: Exception, value: str | None) -> None:
        with self._changed:
            if self._writes is None:
                self._writes = value
            if not self._is_broken and not self._is_closed:
                _log.warning(
                    "The ranks cannot tell one another when to save: %s: %s. Saves by steps and "
                    "epochs go on.",
                    type(error).__name__,
                    error,
                )
            self._is_broken = True
            self._changed.notify_all()
