"""Variables that are stored in parts, each a box of the whole with an entry of its own."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from holdfast.convert.tensorflow.element_types import DTYPES
from holdfast.convert.tensorflow.index import Index
from holdfast.convert.tensorflow.slice_keys import slice_key
from holdfast.foreign.arrays import ForeignArray, boxed_array
from holdfast.foreign.covering import require_cover
from holdfast.foreign.layout import Box, View, dense_strides
from holdfast.foreign.sources import FileRange
from holdfast.format import dtypes


def joined(index: Index, name: str, entry: Any) -> ForeignArray:
    """Return a variable in parts as the array that they make up, each part checked.

    Args:
        index: Of the checkpoint.
        name: Of the variable.
        entry: Its entry, which says the parts; of a known element type.

    Raises:
        ForeignDamaged: A part is not there, damaged, or not what is said of it.
    """
    shape = tuple(dim.size for dim in entry.shape.dim)
    boxes = [_box(index, name, found.extent, entry.dtype, shape) for found in entry.slices]
    try:
        require_cover(shape, boxes)
    except ValueError as error:
        what = f"the parts of {name!r} do not make the whole of it: {error}"
        raise index.damaged(what) from error
    return boxed_array(DTYPES[entry.dtype], shape, tuple(boxes))


def _box(
    index: Index, name: str, extents: Sequence[Any], dtype: int, whole: tuple[int, ...]
) -> Box:
    if len(extents) != len(whole):
        raise index.damaged(f"a part of {name!r} has another number of dimensions")
    wanted = [(e.start, e.length if e.HasField("length") else -1) for e in extents]
    at = tuple(begin if n >= 0 else 0 for begin, n in wanted)
    shape = tuple(n if n >= 0 else all_ for (_, n), all_ in zip(wanted, whole, strict=True))
    entry = _entry(index, name, wanted)
    if entry is None or tuple(d.size for d in entry.shape.dim) != shape or entry.slices:
        raise index.damaged(f"a part of {name!r} is not there")
    if prod(shape) * dtypes.itemsize(DTYPES[dtype]) != entry.size or entry.dtype != dtype:
        raise index.damaged(f"a part of {name!r} has not the size that it should have")
    index.require_checksum(name, entry)
    file = index.file_of(entry)
    source = FileRange(file.path, 0, file.size)
    return Box(at, View(source, entry.offset, shape, dense_strides(shape), entry.shard_id))


def _entry(index: Index, name: str, extents: Sequence[tuple[int, int]]) -> Any:
    try:
        return index.entries.get(slice_key(name, extents))
    except (ValueError, OverflowError):
        return None
