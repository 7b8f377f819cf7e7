"""From the stored bytes of a chunk to its own, whatever codec they are in."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.chunks.codecs import delta, planes
from holdfast.chunks.codecs.errors import Undecodable
from holdfast.format.codecs import DELTA, PLANES, RAW


def decode(
    codec: int,
    stored: memoryview,
    length: int,
    into: memoryview | None,
    base: memoryview | None = None,
) -> Iterator[memoryview]:
    """Yield the bytes of a chunk in order, as they come.

    Args:
        codec: What it is stored in; not ``RAW``.
        stored: The stored bytes.
        length: The chunk's own bytes.
        into: Memory of that length to fill with it; without it what is yielded is good until the
            next is asked for.
        base: The bytes of the chunk that a delta is a difference from.

    Raises:
        Undecodable: They are not what the codec makes of any chunk of this length.
    """
    if codec == DELTA:
        return delta.decode(stored, length, into, base)
    if codec != PLANES:
        raise Undecodable(f"codec {codec} is {'none' if codec == RAW else 'not known'}")
    return planes.decode(stored, length, into)
