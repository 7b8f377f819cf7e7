"""Threads that work on many things at a time, and end together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, wait
from typing import Any, TypeVar

_POLL_S = 0.1
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Stopped(KeyboardInterrupt):
    """Somebody wants out before the work is done."""


class Crew:
    """Work that was given to some pools, all of which ends before anybody hears of an error.

    Args:
        should_stop: Asked now and then whether to leave the work undone.
    """

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._futures: list[Future[Any]] = []

    def start(
        self, pool: Executor, work: Callable[[_In], _Out], items: Iterable[_In]
    ) -> list[Future[_Out]]:
        """Give work to a pool, once for each item."""
        futures = []
        for item in items:
            futures.append(pool.submit(work, item))
            self._futures.append(futures[-1])
        return futures

    def finish(self) -> None:
        """Wait until all is done, then raise the first error, if any.

        Raises:
            Stopped: It should stop; not all is done.
        """
        pending = set(self._futures)
        while pending:
            pending = wait(pending, timeout=_POLL_S).not_done
            if pending and self._should_stop():
                raise Stopped
        errors = [error for f in self._futures if (error := f.exception()) is not None]
        self._futures.clear()
        if errors:
            raise errors[0]

    def stop(self) -> None:
        """Let nobody work any more when this returns; what has not begun never will."""
        for future in self._futures:
            future.cancel()
        wait(self._futures)
        self._futures.clear()
