"""Arrays of the other byte order, for formats that know one: their bytes are turned on the way.

No value changes by that, and the way back gives the same numbers in this machine's order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from holdfast.convert.selection import Selection
from holdfast.format import dtypes
from holdfast.format.part import ArrayRow


@runtime_checkable
class KeepsByteOrder(Protocol):
    """A format whose arrays may be big-endian, as NumPy's may."""

    keeps_byte_order: bool


def in_native_order(selection: Selection) -> tuple[Selection, tuple[str, ...]]:
    """Return a selection whose arrays are all little-endian, and a note for each that was not."""
    rows, turned = list(selection.part.arrays), dict[int, int]()
    for array in selection.arrays:
        row = rows[array.row]
        if isinstance(row, ArrayRow) and (found := _native(row.dtype)) is not None:
            name, turned[array.row] = found
            rows[array.row] = row._replace(dtype=name)
    if not turned:
        return selection, ()
    notes = [
        f"{array.name}: big-endian became little-endian, with the same values"
        for array in selection.arrays
        if array.row in turned
    ]
    arrays = [replace(array, array=rows[array.row]) for array in selection.arrays]
    part = replace(selection.part, arrays=rows)
    return replace(selection, part=part, arrays=arrays, turned=turned), tuple(notes)


def _native(name: str) -> tuple[str, int] | None:
    """Return the dtype in native order and the bytes that are turned together, where it is not."""
    if not name.startswith(f"{dtypes.NUMPY_PREFIX}>"):
        return None
    dtype = dtypes.to_numpy(name)
    if dtype.kind not in "iufc":
        return None
    native = dtypes.from_numpy(dtype.newbyteorder("="))
    return None if native is None else (native, dtype.itemsize // (2 if dtype.kind == "c" else 1))


def turned_bytes(data: memoryview, unit_bytes: int) -> memoryview:
    """Return bytes in which every unit is the other way round.

    >>> bytes(turned_bytes(memoryview(b"abcdef"), 2))
    b'badcfe'
    """
    units = np.frombuffer(data, np.dtype(f"u{unit_bytes}"))
    return units.byteswap().data.cast("B")
