"""Byte planes: the bytes of like significance of many numbers side by side, squeezed if it pays.

Trained weights have exponents that are nearly all of a few values, and mantissas that are noise.
Bits of floats are turned left by one first, so that the exponent fills the highest byte and the
sign joins the noise; then each plane of a block is stored as one Zstandard frame or, where that
gains nothing, as it is (docs/spec/v1.md, 16). ZipNN (Hershcovitch et al. 2024) has the idea.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from holdfast.chunks.codecs.entropy import BLOCK_BYTES, Squeeze, expand, squeeze
from holdfast.chunks.codecs.errors import Undecodable

_HEAD: Final = struct.Struct("<BB2x")
_ENTRY: Final = np.dtype("<u4")
# Elements in a block: a plane of one is as long as a frame, and all of it stays in a core's cache.
BLOCK: Final = BLOCK_BYTES
WIDTHS: Final = (1, 2, 4, 8)

_Array = NDArray[np.unsignedinteger]
_Bytes = NDArray[np.uint8]


def head_bytes(length: int, width: int) -> int:
    """Return how much is stored in front of the planes of a chunk, in bytes."""
    blocks = -(-(length // width) // BLOCK)
    return _HEAD.size + blocks * width * _ENTRY.itemsize


def encode(
    data: memoryview, width: int, rotated: bool, squeezes: Sequence[Squeeze], into: memoryview
) -> int:
    """Fill into with a chunk in planes; return how many bytes that took.

    Args:
        data: The chunk.
        width: Bytes of an element: 1, 2, 4 or 8.
        rotated: Whether to turn the bits of each element left by one.
        squeezes: How to store each plane, the least significant first. One that would gain nothing
            in a block is stored as it is there.
        into: Memory of ``head_bytes`` and the chunk's length, at least.
    """
    count = data.nbytes // width
    numbers = np.frombuffer(data, f"<u{width}", count)
    out = np.frombuffer(into, np.uint8)
    at = head_bytes(data.nbytes, width)
    _HEAD.pack_into(into, 0, width, rotated)
    table = np.frombuffer(into, _ENTRY, -(-count // BLOCK) * width, _HEAD.size)
    work = _Work(width)
    for number, begin in enumerate(range(0, count, BLOCK)):
        block = work.turned(numbers[begin : begin + BLOCK], rotated)
        for plane, how in enumerate(squeezes):
            stored = _put(work, block, plane, how, out[at : at + block.size])
            table[number * width + plane] = stored
            at += stored
    rest = data.nbytes - count * width
    out[at : at + rest] = np.frombuffer(data, np.uint8, rest, count * width)
    return at + rest


def _put(work: _Work, block: _Array, plane: int, how: Squeeze, place: _Bytes) -> int:
    """Store one plane of a block; return its stored bytes."""
    if how is not Squeeze.RAW:
        bytes_ = work.plane(block, plane, work.bytes_[: block.size])
        frame = squeeze(bytes_.data, how)
        if len(frame) < block.size:
            place[: len(frame)] = np.frombuffer(frame, np.uint8)
            return len(frame)
        place[:] = bytes_
    else:
        work.plane(block, plane, place)
    return block.size


def decode(stored: memoryview, length: int, into: memoryview | None) -> Iterator[memoryview]:
    """Yield the bytes of a chunk in order, as they come.

    Args:
        stored: What ``encode`` gave; what follows it is not looked at.
        length: The chunk's, in bytes.
        into: Memory of that length to fill with it; without it what is yielded is good until the
            next is asked for.

    Raises:
        Undecodable: It is not what ``encode`` makes of any chunk of this length.
    """
    width, turned, table, at = _read_head(stored, length)
    rest = length % width
    kind, work = f"<u{width}", _Work(width)
    begin = 0
    for entries in table.tolist():
        nbytes = min(BLOCK * width, length - rest - begin)
        place = work.room[:nbytes] if into is None else into[begin : begin + nbytes]
        planes = []
        for taken in entries:
            planes.append(_take(stored[at : at + taken], nbytes // width))
            at += taken
        work.join(planes, np.frombuffer(place, kind), turned)
        yield place
        begin += nbytes
    if rest:
        place = work.room[:rest] if into is None else into[begin:length]
        place[:] = stored[at : at + rest]
        yield place


def _read_head(stored: memoryview, length: int) -> tuple[int, bool, NDArray[np.uint32], int]:
    """Return width, whether bits are turned, stored bytes of planes by block, where they begin."""
    if stored.nbytes < _HEAD.size:
        raise Undecodable("it is too short to say what it is")
    width, turned = _HEAD.unpack_from(stored)
    if width not in WIDTHS or turned > (width > 1):
        raise Undecodable(f"elements of {width} bytes, turned by {turned}")
    at, n_blocks = head_bytes(length, width), -(-(length // width) // BLOCK)
    if stored.nbytes < at:
        raise Undecodable("it is shorter than its table of planes")
    table = np.frombuffer(stored, _ENTRY, n_blocks * width, _HEAD.size).reshape(n_blocks, width)
    if at + int(table.sum(dtype=np.uint64)) + length % width > stored.nbytes:
        raise Undecodable("its planes are longer than what is stored")
    return width, bool(turned), table, at


def _take(stored: memoryview, nbytes: int) -> _Bytes:
    if stored.nbytes > nbytes:
        raise Undecodable("a plane is longer than its block")
    data = stored if stored.nbytes == nbytes else expand(stored, nbytes)
    return np.frombuffer(data, np.uint8)


class _Work:
    """Room for one block on its way, and the steps it takes."""

    def __init__(self, width: int) -> None:
        self._width = width
        kind = f"<u{width}"
        self._turned = np.empty(BLOCK, kind)
        self._other = np.empty(BLOCK, kind)
        self.bytes_ = np.empty(BLOCK, np.uint8)
        self.room = memoryview(bytearray(BLOCK * width))

    def turned(self, block: _Array, rotated: bool) -> _Array:
        """Return a block, its bits turned left by one if they shall be."""
        if not rotated:
            return block
        out, low = self._turned[: block.size], self._other[: block.size]
        np.left_shift(block, 1, out=out)
        np.right_shift(block, 8 * self._width - 1, out=low)
        return np.bitwise_or(out, low, out=out)

    def plane(self, block: _Array, plane: int, into: _Bytes) -> _Bytes:
        """Fill into with one byte of each element."""
        if plane:
            block = np.right_shift(block, 8 * plane, out=self._other[: block.size])
        # The cast keeps the lowest byte, and is several times as fast as picking every n-th one.
        np.copyto(into, block, casting="unsafe")
        return into

    def join(self, planes: Sequence[_Bytes], into: _Array, rotated: bool) -> None:
        """Fill a block with the elements of its planes."""
        out, other = self._turned[: into.size], self._other[: into.size]
        np.copyto(out, planes[-1])
        for plane in reversed(planes[:-1]):
            np.left_shift(out, 8, out=out)
            np.copyto(other, plane)
            np.bitwise_or(out, other, out=out)
        if rotated:
            np.left_shift(out, 8 * self._width - 1, out=other)
            np.right_shift(out, 1, out=out)
            np.bitwise_or(out, other, out=into)
        else:
            np.copyto(into, out)
