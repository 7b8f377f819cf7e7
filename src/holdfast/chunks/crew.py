"""Threads that work on many things at a time, and end together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, wait
from typing import Any, TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Crew:
    """Work that was given to some pools, all of which ends before anybody hears of an error."""

    def __init__(self) -> None:
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
        """Wait until all is done, then raise the first error, if any."""
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
