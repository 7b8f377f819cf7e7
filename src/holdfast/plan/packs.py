"""Which chunks go into which object: large objects for speed, small chunks for re-use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

PACK_BYTES = 32 << 20
# Packs that are written at a time.
WRITERS = 4


class Packer:
    """Fills packs with the chunks that are new, in the order in which they come.

    Chunks as small as a leaf keep small what is written when little has changed; packs of 32 MiB
    and more keep the number of files and of their syncs small (docs/adr/0002).
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = lengths
        self._open: list[int] = []
        self._fill = 0

    def add(self, chunk: int) -> list[int] | None:
        """Add a chunk; return the chunks of a pack once one is full."""
        self._open.append(chunk)
        self._fill += self._lengths[chunk]
        return self._close() if self._fill >= PACK_BYTES else None

    def rest(self) -> Iterator[list[int]]:
        """Yield the last pack, if any chunk is left for it."""
        if self._open:
            yield self._close()

    def _close(self) -> list[int]:
        full, self._open, self._fill = self._open, [], 0
        return full
