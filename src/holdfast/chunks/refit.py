"""A chunk made to fit where a manifest says that it lies, from a copy that is stored otherwise.

A manifest never changes, so that a chunk that is put back must be in the codec, and no longer than
the bytes, that it says.
"""

from __future__ import annotations

from itertools import product

from holdfast.chunks.codecs import planes
from holdfast.chunks.codecs.entropy import Squeeze
from holdfast.format.codecs import PLANES
from holdfast.format.part import ChunkRow


def as_stored(
    row: ChunkRow, there: ChunkRow, data: memoryview, stored: memoryview
) -> memoryview | None:
    """Return a chunk as a row of a manifest says that it is stored, or None where that fails.

    Args:
        row: What is needed.
        there: The row of the copy.
        data: The bytes of the chunk.
        stored: What it is stored as there.
    """
    if not row.codec:
        return data
    if there.codec == row.codec and there.encoded_length <= row.encoded_length:
        return stored
    return _in_planes(row, data) if row.codec == PLANES else None


def _in_planes(row: ChunkRow, data: memoryview) -> memoryview | None:
    """Return a chunk in planes, in any way that is short enough."""
    turns = [(width, turned) for width in planes.WIDTHS for turned in {width > 1, False}]
    for (width, turned), how in product(turns, (Squeeze.FREQUENCY, Squeeze.STRINGS)):
        into = memoryview(bytearray(planes.head_bytes(data.nbytes, width) + data.nbytes))
        nbytes = planes.encode(data, width, turned, [how] * width, into)
        if nbytes <= row.encoded_length:
            return into[:nbytes]
    return None
