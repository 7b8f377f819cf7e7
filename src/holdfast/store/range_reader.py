"""An open object that is fetched stretch by stretch, from where nothing of it is cached."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from holdfast.store.contract import cut_short


@final
class RangeReader:
    """An open object; each read fetches its own stretch.

    Args:
        key: Of the object.
        size: All its bytes.
        fetch: Fills memory with the bytes at an offset; returns how many of them there were.
    """

    def __init__(self, key: str, size: int, fetch: Callable[[memoryview, int], int]) -> None:
        self.size = size
        self._key = key
        self._fetch = fetch

    def read(self, into: memoryview, offset: int) -> None:
        if offset + into.nbytes > self.size:
            raise cut_short(self._key, self.size)
        fetched = self._fetch(into, offset)
        if fetched != into.nbytes:
            raise cut_short(self._key, offset + fetched)

    def is_cached(self, offset: int, nbytes: int) -> bool:
        return False

    def read_cached(self, into: memoryview, offset: int) -> bool:
        return False

    def read_uncached(self, into: memoryview, offset: int) -> None:
        self.read(into, offset)

    def close(self) -> None:
        """Do nothing: nothing is held."""
