"""A chunk made to fit where a manifest says that it lies, from a copy that is stored otherwise.

A manifest never changes, so that a chunk that is put back must be in the codec, and no longer than
the bytes, that it says.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from holdfast.chunks.batch import ChunkRead
from holdfast.chunks.codecs import planes
from holdfast.chunks.codecs.delta import flip
from holdfast.chunks.codecs.entropy import Squeeze
from holdfast.format.codecs import DELTA, PLANES
from holdfast.format.part import ChunkRow


def as_stored(
    wanted: ChunkRead,
    there: ChunkRead,
    data: memoryview,
    stored: memoryview,
    give_base: Callable[[ChunkRead], memoryview | None],
) -> memoryview | None:
    """Return a chunk as a row of a manifest says that it is stored, or None where that fails.

    Args:
        wanted: What is needed.
        there: The copy.
        data: The bytes of the chunk.
        stored: What it is stored as there.
        give_base: Gives the bytes of the chunk that a delta is a difference from, or None.
    """
    row = wanted.row
    if not row.codec:
        return data
    is_alike = there.row.codec == row.codec and _base_check(there) == _base_check(wanted)
    if is_alike and there.row.encoded_length <= row.encoded_length:
        return stored
    if row.codec == PLANES:
        return _in_planes(row, data)
    base = give_base(wanted.base) if row.codec == DELTA and wanted.base is not None else None
    if base is None:
        return None
    difference = memoryview(bytearray(data))
    flip(difference, base)
    return _in_planes(row, difference)


def _base_check(read: ChunkRead) -> bytes:
    # Not its digest: encrypted stores give digests of their own to the same bytes.
    return read.base.row.check if read.base is not None else b""


def _in_planes(row: ChunkRow, data: memoryview) -> memoryview | None:
    """Return a chunk in planes, in any way that is short enough."""
    squeezes = Squeeze.FREQUENCY, Squeeze.STRINGS
    for width, turned, how in product(planes.WIDTHS, (False, True), squeezes):
        if turned and width == 1:
            continue  # No codec turns the bits of single bytes.
        into = memoryview(bytearray(planes.head_bytes(data.nbytes, width) + data.nbytes))
        nbytes = planes.encode(data, width, turned, [how] * width, into)
        if nbytes <= row.encoded_length:
            return into[:nbytes]
    return None
