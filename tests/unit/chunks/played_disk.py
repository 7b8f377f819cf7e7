"""A store in memory that plays a disk with a page cache, for tests of how chunks are read."""

from __future__ import annotations

import threading
from typing import Any

from holdfast.testing.memory import BytesReader, MemoryStore


class Reader:
    """A reader of which some bytes are cached and others are not; counts what is read."""

    def __init__(self, inner: BytesReader, store: PlayedDisk) -> None:
        self._inner, self._store = inner, store
        self.size = inner.size

    def read(self, into: memoryview, offset: int) -> None:
        self._inner.read(into, offset)

    def is_cached(self, offset: int, nbytes: int) -> bool:
        return self._store.cached and self._inner.is_cached(offset, nbytes)

    def read_cached(self, into: memoryview, offset: int) -> bool:
        with self._store.lock:
            self._store.cached_reads += 1
            if self._store.cached_reads > self._store.evict_after:
                return False
        return self._store.cached and self._inner.read_cached(into, offset)

    def read_uncached(self, into: memoryview, offset: int) -> None:
        with self._store.lock:
            self._store.uncached_reads += 1
            self._store.uncached_bytes += into.nbytes
        self._inner.read_uncached(into, offset)

    def close(self) -> None:
        self._store.closed += 1


class PlayedDisk(MemoryStore):  # type: ignore[misc]
    """A memory store that plays a disk with a page cache."""

    def __init__(self, *, cached: bool) -> None:
        super().__init__()
        self.cached = cached
        self.evict_after = 10**9
        self.cached_reads = self.uncached_reads = self.uncached_bytes = 0
        self.opened = self.closed = 0
        self.lock = threading.Lock()

    def open(self, key: str) -> Any:
        reader = Reader(super().open(key), self)
        self.opened += 1
        return reader


def damage(store: PlayedDisk, key: str, at: int) -> None:
    data = bytearray(store.get(key))
    data[at] ^= 4
    store.put(key, data)
