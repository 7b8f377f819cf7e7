"""How a tree says which arrays ranks hold together, and what each has for itself.

Three names of CUSTOM nodes are the format's own (docs/spec/v1.md, 7.3.1):

- ``PART_OF``: an array that all ranks name at this place. Its child is a tuple: a header in bytes,
  then how it lies over the ranks, as text, where it does not lie on all of them.
- ``SAME_AS``: the array of an earlier ``PART_OF``, by its number among them, once more.
- ``PER_RANK``: a value that each rank has for itself; what it is says each rank's part.

In parts of formats 1 and 2, a whole tree each, boxes follow the header, as arrays, and the value of
``PER_RANK`` stands where it belongs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from holdfast.format import dtypes
from holdfast.format.boxes import Box
from holdfast.format.casting import split_type, type_text
from holdfast.format.part import MAX_DIM, MAX_NDIM

PART_OF = "holdfast:part-of"
SAME_AS = "holdfast:same-as"
PER_RANK = "holdfast:per-rank"
NAMES = frozenset({PART_OF, SAME_AS, PER_RANK})
_NUMBER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Header:
    """What an array is as a whole, and where the boxes begin that follow."""

    framework: str
    dtype: str
    shape: tuple[int, ...]
    offsets: Sequence[tuple[int, ...]]
    cast_from: str = ""

    @property
    def kind(self) -> tuple[str, str, tuple[int, ...]]:
        """What all ranks must agree on."""
        return self.framework, self.dtype, self.shape

    @property
    def type_name(self) -> str:
        """Framework and type, as they stand in a manifest."""
        return f"{self.framework}:{type_text(self.dtype, self.cast_from)}"


def encode_header(header: Header) -> bytes:
    """Return a header as bytes: type, NUL, then ndim, shape and offsets as 64-bit numbers."""
    numbers = [len(header.shape), *header.shape, *(n for at in header.offsets for n in at)]
    return header.type_name.encode() + b"\0" + struct.pack(f"<{len(numbers)}q", *numbers)


def decode_header(data: object, n_boxes: int) -> Header:
    """Return the header of bytes.

    Args:
        data: The bytes.
        n_boxes: How many boxes follow.

    Raises:
        ValueError: They are none.
    """
    if not isinstance(data, bytes) or b"\0" not in data:
        raise ValueError("an array of several ranks has no header")
    name, _, packed = data.partition(b"\0")
    framework, colon, text = name.decode("utf-8").partition(":")
    if not colon or len(packed) % _NUMBER_BYTES or not packed:
        raise ValueError("the header of an array of several ranks is malformed")
    dtype, cast_from = split_type(text)
    ndim, *numbers = struct.unpack(f"<{len(packed) // _NUMBER_BYTES}q", packed)
    if not 0 <= ndim <= MAX_NDIM or len(numbers) != ndim * (1 + n_boxes):
        raise ValueError("the header of an array of several ranks has another number of boxes")
    if any(not 0 <= number <= MAX_DIM for number in numbers):
        raise ValueError("an array of several ranks has an impossible shape")
    shape, rest = tuple(numbers[:ndim]), numbers[ndim:]
    offsets = [tuple(rest[i * ndim : (i + 1) * ndim]) for i in range(n_boxes)]
    return Header(framework, dtype, shape, offsets, cast_from)


class PieceRow(NamedTuple):
    """A box of an array, and where its bytes begin in the chunks."""

    box: Box
    chunk: int
    offset: int


class SharedRow(NamedTuple):
    """An array in boxes that cover it once; like ``ArrayRow`` but for where its bytes are."""

    framework: str
    dtype: str
    shape: tuple[int, ...]
    pieces: Sequence[PieceRow]
    not_finite: int | None = None
    cast_from: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of the array, densely packed in C order."""
        return prod(self.shape) * dtypes.itemsize(self.dtype)
