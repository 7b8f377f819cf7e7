"""How far an export or import is: bytes that several threads are done with, added up and told."""

from __future__ import annotations

import threading
from collections.abc import Callable

Progress = Callable[[int, int], None]


def tally(total: int, progress: Progress) -> Callable[[int], None]:
    """Return what adds bytes to those that are done, and tells of both.

    Args:
        total: The bytes to do.
        progress: Called with the bytes done and the bytes to do, by one thread at a time.
    """
    done, lock = 0, threading.Lock()

    def add(nbytes: int) -> None:
        nonlocal done
        with lock:
            done += nbytes
            progress(min(done, total), total)

    return add
