"""What takes longer than a page may: done in the background once, its progress shown, kept a while.

A task is named by what it is about, so that a page that is loaded again finds it under way or done.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from holdfast.errors import HoldfastError

T = TypeVar("T")
Progress = Callable[[int, int], None]

# Results are small beside the checkpoints, but they are not nothing.
_KEPT = 32


@dataclass(slots=True)
class Task(Generic[T]):
    """Something under way, or done.

    Attributes:
        done_bytes: How far it is.
        total_bytes: How far it has to go; 0 while that is not known.
        result: What came of it; None while it is under way, or where it failed.
        error: Why it failed, or None.
        since_s: When it began, on the monotonic clock.
    """

    done_bytes: int = 0
    total_bytes: int = 0
    result: T | None = None
    error: Exception | None = None
    since_s: float = field(default_factory=time.monotonic)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self._ended.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for its end, at most a while; return whether it came."""
        return self._ended.wait(timeout_s)

    def answer(self) -> T:
        """Return the result of a task that is over, or raise why there is none."""
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result

    def run(self, do: Callable[[Progress], T]) -> None:
        """Do it, here and now."""
        try:
            self.result = do(self._progress)
        except Exception as error:
            self.error = error
        finally:
            self._ended.set()

    def _progress(self, done: int, total: int) -> None:
        self.done_bytes, self.total_bytes = done, total


class Work:
    """Tasks by name; the same name is done once at a time, and its result kept for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: OrderedDict[Hashable, Task[object]] = OrderedDict()

    def task(self, name: Hashable, do: Callable[[Progress], T]) -> Task[T]:
        """Return the task of that name, begun in a thread if it is not there."""
        with self._lock:
            task = self._tasks.get(name)
            if task is None or isinstance(task.error, HoldfastError):
                task = self._tasks[name] = Task()
                threading.Thread(target=task.run, args=(do,), daemon=True).start()
            self._tasks.move_to_end(name)
            self._forget_old()
        return task  # type: ignore[return-value]

    def answer(self, name: Hashable, do: Callable[[], T]) -> T:
        """Return the result of the task of that name, waiting for it."""
        task = self.task(name, lambda progress: do())
        task.wait()
        return task.answer()

    def forget(self, name: Hashable) -> None:
        """Let the task be done anew when it is asked for again."""
        with self._lock:
            self._tasks.pop(name, None)

    def _forget_old(self) -> None:
        over = [name for name, task in self._tasks.items() if task.is_over]
        for name in over[: max(0, len(self._tasks) - _KEPT)]:
            del self._tasks[name]
