"""NumPy's ``.npz``, a zip of arrays by name, and ``.npy``, one array.

NumPy itself has no bfloat16, float8 and complex32, and its files no word for them. They are refused
or, with the option ``low_precision=bits``, stored as unsigned integers of the same bits. A field of
the archive's directory, which other readers skip, says what they are, so that they come back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np

from holdfast.convert.contract import FilePlan, Imported
from holdfast.convert.npz_dtypes import BITS_FIELD, true_dtypes
from holdfast.convert.pickled_files import begins_with, members_of, read_pickled
from holdfast.convert.selection import NamedArray, Selection
from holdfast.convert.zip_plan import (
    Array,
    Member,
    Segment,
    extra_field,
    plan_zip,
    require_member_names,
)
from holdfast.errors import CannotConvert, UsageError
from holdfast.foreign import Unknown
from holdfast.foreign.array_files import NPY_MAGIC
from holdfast.format import dtypes

_SUFFIX = ".npy"
_ALIGNMENT = 64


@final
class Npz:
    """The format ``npz``.

    Options for writing: ``low_precision=bits`` stores what NumPy has no type for as integers.
    """

    name = "npz"
    holds_values = False
    keeps_byte_order = True
    options: Sequence[str] = ("low_precision",)
    members: Sequence[str] = ()

    def recognises(self, path: Path) -> bool:
        if not path.is_file():
            return False
        names = members_of(path)
        if names:
            return all(name.endswith(_SUFFIX) for name in names)
        return begins_with(path, len(NPY_MAGIC)) == NPY_MAGIC

    def read(self, path: Path) -> Imported:
        return self.read_unknown(path, "refuse")

    def read_unknown(self, path: Path, unknown: Unknown) -> Imported:
        found = read_pickled(path, unknown)
        return Imported(true_dtypes(path, found.tree), found.facts, found.notes)

    def plan(self, selection: Selection, options: Mapping[str, object]) -> Sequence[FilePlan]:
        as_bits = _as_bits(options)
        names = {array.name for array in selection.arrays}
        require_member_names(array.name for array in selection.arrays)
        members, notes = [], []
        for array in selection.arrays:
            _require_found(array.name, names)
            dtype, field = _dtype(array, as_bits=as_bits)
            if field:
                notes.append(f"{array.name}: {array.array.dtype} became the bits of it, {dtype}")
            head = npy_header(dtype, array.array.shape)
            segments: list[Segment] = [head, Array(array.row, array.array.nbytes)]
            members.append(Member(array.name + _SUFFIX, segments, field))
        return [plan_zip(members).as_file(notes)]


def npy_header(dtype: np.dtype[np.generic], shape: Sequence[int]) -> bytes:
    """Return what comes before the bytes of an array in C order, padded to 64 bytes.

    >>> npy_header(np.dtype("<f4"), (2, 3))[10:61].decode()
    "{'descr': '<f4', 'fortran_order': False, 'shape': ("
    """
    described = np.lib.format.dtype_to_descr(dtype)
    text = f"{{'descr': {described!r}, 'fortran_order': False, 'shape': {tuple(shape)!r}, }}"
    # The second version is for long ones, the third for names of fields in letters of any kind.
    try:
        data = text.encode("latin-1")
        version, width = (1, 2) if len(data) + _ALIGNMENT < 1 << 16 else (2, 4)
    except UnicodeEncodeError:
        version, data, width = 3, text.encode(), 4
    begin = len(NPY_MAGIC) + 2 + width
    data += b" " * (-(begin + len(data) + 1) % _ALIGNMENT) + b"\n"
    return NPY_MAGIC + bytes([version, 0]) + len(data).to_bytes(width, "little") + data


def _as_bits(options: Mapping[str, object]) -> bool:
    chosen = options.get("low_precision")
    if chosen not in (None, "bits"):
        raise UsageError(f"low_precision={chosen!r} is unknown here; there is 'bits'.")
    return chosen == "bits"


def _dtype(array: NamedArray, *, as_bits: bool) -> tuple[np.dtype[np.generic], bytes]:
    """Return the dtype to store an array as, and the field that tells its own, if it differs."""
    name = array.array.dtype
    if dtypes.is_plain_numpy(name):
        return dtypes.to_numpy(name), b""
    if not as_bits:
        raise CannotConvert(
            f"{array.name!r} has the dtype {name}, which NumPy's files have no word for. Nothing "
            "was written. To store its bits as unsigned integers: --option low_precision=bits. To "
            f"leave it out: --skip {array.name!r}.",
            name=array.name,
            dtype=name,
        )
    return np.dtype(f"u{dtypes.itemsize(name)}"), extra_field(BITS_FIELD, name.encode())


def _require_found(name: str, names: Collection[str]) -> None:
    if name.endswith(_SUFFIX) and name.removesuffix(_SUFFIX) in names:
        raise CannotConvert(
            f"NumPy would find {name.removesuffix(_SUFFIX)!r} under the name {name!r}. Nothing was "
            "written. Give one of them another name with --rename.",
            name=name,
        )
