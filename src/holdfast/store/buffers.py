"""Page-aligned buffers that are used again, since memory touched for the first time is slow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.store.memory_pages import private_memory

_STEP = 8 << 20


class Buffers:
    """Lends out buffers. May be used by several threads.

    Args:
        kept: How many that are not lent are kept.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._free: list[memoryview] = []
        self._lock = threading.Lock()

    @contextmanager
    def lend(self, nbytes: int) -> Iterator[memoryview]:
        """Lend a page-aligned buffer of that many bytes or more; what is in it is anything."""
        buffer = self._take(nbytes)
        try:
            yield buffer
        finally:
            self._give_back(buffer)

    def _take(self, nbytes: int) -> memoryview:
        with self._lock:
            for i, buffer in enumerate(self._free):
                if buffer.nbytes >= nbytes:
                    return self._free.pop(i)
        return memoryview(private_memory(max(1, -(-nbytes // _STEP)) * _STEP))

    def _give_back(self, buffer: memoryview) -> None:
        with self._lock:
            self._free.append(buffer)
            self._free.sort(key=lambda held: held.nbytes)
            del self._free[: -self._kept]
