"""How the bytes of an array lie in chunks, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Piece(NamedTuple):
    """Bytes of an array that lie in one chunk.

    Attributes:
        chunk: The chunk's index.
        begin: Where they begin in the chunk, in bytes.
        nbytes: How many they are.
        at: Where they begin in the array, in bytes.
    """

    chunk: int
    begin: int
    nbytes: int
    at: int


def pieces(place: tuple[int, int], nbytes: int, lengths: Sequence[int]) -> Iterator[Piece]:
    """Yield the pieces of an array in order.

    Args:
        place: Its first chunk and the offset in it, as in ``Layout``.
        nbytes: Its bytes.
        lengths: The lengths of all chunks.

    >>> [tuple(piece) for piece in pieces((0, 2), 5, [5, 9])]
    [(0, 2, 3, 0), (1, 0, 2, 3)]
    """
    chunk, begin = place
    at = 0
    while at < nbytes:
        n = min(nbytes - at, lengths[chunk] - begin)
        yield Piece(chunk, begin, n, at)
        at, chunk, begin = at + n, chunk + 1, 0
