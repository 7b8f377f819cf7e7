"""Deltas: a chunk as its difference, bit for bit, from its base, another one of the same length.

Weights that take small steps keep most of their bits: the exclusive or with what they were is
mostly zeros, which planes squeeze well (docs/spec/v1.md, 16.2). Nothing is rounded: the same
operation gives the chunk back.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from holdfast.chunks.codecs import planes
from holdfast.chunks.codecs.errors import Undecodable


def flip(data: memoryview, other: memoryview) -> None:
    """Flip the bits of data that are set in other, of the same length, where they are."""
    into = np.frombuffer(data, np.uint8)
    np.bitwise_xor(into, np.frombuffer(other, np.uint8), out=into)


def decode(
    stored: memoryview, length: int, into: memoryview | None, base: memoryview | None
) -> Iterator[memoryview]:
    """Yield the bytes of a chunk in order, as they come.

    Args:
        stored: The difference, in planes.
        length: The chunk's own bytes.
        into: Memory of that length to fill with it; without it what is yielded is good until the
            next is asked for.
        base: The chunk that it is a difference from.

    Raises:
        Undecodable: It is not the difference of chunks of this length, or there is no base.
    """
    if base is None or base.nbytes != length:
        raise Undecodable("what it is a difference from is not there")
    at = 0
    for piece in planes.decode(stored, length, into):
        flip(piece, base[at : at + piece.nbytes])
        at += piece.nbytes
        yield piece
