"""Saves of several ranks that are written here and wait for the others, finished in order.

A thread of its own, so that the next snapshot is written meanwhile: one slow rank does not hold up
the others. Who saves faster than checkpoints can be committed is held up, though.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, final

from holdfast.engine.job import SaveJob
from holdfast.engine.unfinished import Unfinished


class Finish(Protocol):
    """Finishes a save; raises nothing."""

    def __call__(self, left: Unfinished, behind: Callable[[], Sequence[SaveJob]]) -> None:
        """Finish it; ``behind`` tells which saves wait behind it by now."""
        ...


@final
class Finishing:
    """Finishes saves one after the other, in the order in which they come.

    Args:
        finish: Finishes one.
        most_behind: How many may wait behind the one that is being finished. One more has that one
            given up, if it waits for a rank that does not come.
    """

    def __init__(self, finish: Finish, most_behind: int) -> None:
        self._finish = finish
        self._most_behind = most_behind
        self._changed = threading.Condition()
        self._waiting: deque[Unfinished] = deque()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="holdfast-finish", daemon=True)
        self._thread.start()

    def put(self, left: Unfinished) -> None:
        """Have a save finished after those that came before.

        Returns once no more wait than may: what comes next shall not be written sooner.
        """
        with self._changed:
            self._waiting.append(left)
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._waiting) <= self._most_behind)

    def close(self) -> None:
        """Finish all, and end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _behind(self) -> Sequence[SaveJob]:
        with self._changed:
            return [left.job for left in self._waiting]

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                left = self._waiting.popleft()
                self._changed.notify_all()
            self._finish(left, self._behind)
