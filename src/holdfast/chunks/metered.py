"""How many bytes of packs a restore reads, counted where they are asked for."""

from __future__ import annotations

import threading
from typing import final

from holdfast.store.contract import ObjectReader


@final
class ReadCount:
    """Counts bytes, until it is stopped; for several threads."""

    def __init__(self) -> None:
        self.nbytes = 0
        self._is_on = True
        self._lock = threading.Lock()

    def add(self, nbytes: int) -> None:
        """Count bytes."""
        with self._lock:
            if self._is_on:
                self.nbytes += nbytes

    def stop(self) -> None:
        """Count nothing any more."""
        with self._lock:
            self._is_on = False


@final
class Metered:
    """An open object whose reads are counted, in whatever way they are done.

    Args:
        inner: The object.
        count: Counts.
    """

    def __init__(self, inner: ObjectReader, count: ReadCount) -> None:
        self.size = inner.size
        self._inner = inner
        self._count = count

    def read(self, into: memoryview, offset: int) -> None:
        """Fill into with the bytes at offset."""
        self._inner.read(into, offset)
        self._count.add(into.nbytes)

    def is_cached(self, offset: int, nbytes: int) -> bool:
        """Say whether a stretch is in memory already."""
        return self._inner.is_cached(offset, nbytes)

    def read_cached(self, into: memoryview, offset: int) -> bool:
        """Fill into if the bytes are in memory still; or say no."""
        is_there = self._inner.read_cached(into, offset)
        if is_there:
            self._count.add(into.nbytes)
        return is_there

    def read_uncached(self, into: memoryview, offset: int) -> None:
        """Fill into past every cache where that is possible."""
        self._inner.read_uncached(into, offset)
        self._count.add(into.nbytes)

    def close(self) -> None:
        """Give the object back."""
        self._inner.close()
