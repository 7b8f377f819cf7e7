"""An open object whose bytes are in memory."""

from __future__ import annotations

from typing import final

from holdfast.store.contract import cut_short


@final
class BytesReader:
    """An open object: its bytes as they were when it was opened."""

    def __init__(self, key: str, data: bytes) -> None:
        self.key = key
        self.size = len(data)
        self._data = memoryview(data)

    def read(self, into: memoryview, offset: int) -> None:
        if offset + into.nbytes > self.size:
            raise cut_short(self.key, self.size)
        into[:] = self._data[offset : offset + into.nbytes]

    def is_cached(self, offset: int, nbytes: int) -> bool:
        return offset + nbytes <= self.size

    def read_cached(self, into: memoryview, offset: int) -> bool:
        if not self.is_cached(offset, into.nbytes):
            return False
        self.read(into, offset)
        return True

    def read_uncached(self, into: memoryview, offset: int) -> None:
        self.read(into, offset)

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""
