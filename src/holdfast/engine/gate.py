"""The gate of zero-stall saves: an update of the state waits until the snapshot has been copied.

Parameters and moments of optimizers are copied while the next forward and backward pass go on. The
optimizer's step, which changes them, waits for what is left of the copy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future
from typing import Any

from holdfast.state.guards import guarded_addresses, guards_in


class Copying:
    """A copy that goes on in the background, and who waits for it."""

    def __init__(self) -> None:
        self._is_over = threading.Event()
        self._waiting_since_s: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether it is over, well or not."""
        return self._is_over.is_set()

    def wait(self) -> None:
        """Wait until it is over."""
        self._is_over.wait()

    def hold(self) -> None:
        """Wait until it is over, as training does: the time counts as held."""
        if self._waiting_since_s is None:
            self._waiting_since_s = time.monotonic()
        self.wait()

    def held_s(self) -> float:
        """Return for how long training has waited for it so far."""
        since = self._waiting_since_s
        return 0.0 if since is None else time.monotonic() - since

    def follow(self, tasks: Sequence[Future[None]], then: Callable[[], None]) -> None:
        """Call ``then`` once, in one of the threads that copy, when all tasks have ended."""
        left = len(tasks)
        lock = threading.Lock()

        def one_has_ended(_: Future[None]) -> None:
            nonlocal left
            with lock:
                left -= 1
                is_last = left == 0
            if is_last:
                try:
                    then()
                finally:
                    self._is_over.set()

        for task in tasks:
            task.add_done_callback(one_has_ended)


class Gate:
    """Knows what may be copied later, and holds back updates until it is."""

    def __init__(self) -> None:
        self._copies: list[Copying] = []
        # By id; the object is kept, so that no other gets its id.
        self._watched: dict[int, tuple[Any, Callable[[], None]]] = {}

    def watch(self, state: object) -> Container[int]:
        """Let the guards of a state wait at the gate; return where what they guard begins."""
        found = {id(guard): (guard, kind) for guard, kind in guards_in(state)}
        for gone in self._watched.keys() - found.keys():
            self._watched.pop(gone)[1]()
        for key in found.keys() - self._watched.keys():
            guard, kind = found[key]
            self._watched[key] = guard, kind.before_update(guard, self.hold)
        return guarded_addresses(state)

    def close_for(self, copying: Copying) -> None:
        """Hold back updates until a copy is over."""
        self._copies = [c for c in self._copies if not c.is_over] + [copying]

    def hold(self) -> None:
        """Wait until every copy is over; training goes through here before an update."""
        for copying in self._copies:
            copying.hold()

    def open(self) -> None:
        """Let nobody wait at the gate any more."""
        for _, undo in self._watched.values():
            undo()
        self._watched.clear()
