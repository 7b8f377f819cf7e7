"""Selections to HDF5 files: h5py lays the file out, then the arrays are streamed into their places.

h5py makes the file beforehand with a place for every dataset and nothing in it, which costs no room
on the disk. What is not a dataset in it is taken over as it is; the bytes of arrays go to where
h5py wants them, without h5py, by several threads.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.convert.containers import EMPTY, Contained
from holdfast.convert.contract import FilePlan, Piece, Placement
from holdfast.convert.hdf5.attributes import is_holdable, to_attribute
from holdfast.convert.hdf5.element_types import DTYPE_ATTRIBUTE, stored_as
from holdfast.convert.hdf5.library import h5py_library
from holdfast.convert.hdf5.reading import KIND_ATTRIBUTE
from holdfast.convert.naming import is_utf8, names_around
from holdfast.convert.selection import LONG_TEXTS, NamedArray, NamedValue
from holdfast.errors import CannotConvert

# Larger arrays begin where the widest vector registers like them to.
_ALIGNED_FROM, _ALIGNMENT = 4096, 64
_MAX_NDIM = 32


@dataclass(frozen=True, slots=True)
class Stored:
    """How an array is stored: NumPy's dtype and shape, and attributes beside."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    attributes: Mapping[str, Any]


def stored(array: NamedArray) -> Stored:
    """Return how the plain tree stores an array."""
    row = array.array
    if row.framework in LONG_TEXTS:
        return Stored(np.dtype("u1"), row.shape, {DTYPE_ATTRIBUTE: row.framework})
    dtype, shape, is_named = stored_as(row.dtype, row.shape)
    return Stored(dtype, shape, {DTYPE_ATTRIBUTE: row.dtype} if is_named else {})


def lay_out(
    found: Contained,
    *,
    how: Callable[[NamedArray], Stored] = stored,
    numbers: Sequence[NamedValue] = (),
) -> FilePlan:
    """Return the file that leaves become.

    Args:
        found: Arrays, plain values, and marks of containers.
        how: Says how each array is stored.
        numbers: Plain numbers that become datasets without dimensions.

    Raises:
        CannotConvert: A name has no place in HDF5.
        MissingDependency: There is no h5py.
    """
    values = [value for value in found.values if is_holdable(value.value)]
    leaves: list[NamedArray | NamedValue] = [*found.arrays, *values, *numbers]
    _require_names([leaf.name for leaf in leaves])
    for array in found.arrays:
        _require_few_dims(array, how(array))
    with tempfile.TemporaryDirectory(prefix="holdfast-hdf5-") as folder:
        path = os.path.join(folder, "layout.h5")
        with _new_file(path) as file:
            groups = _Groups(h5py_library(), file)
            datasets = [groups.place(array.name, how(array)) for array in found.arrays]
            for number in numbers:
                groups.put(number.name, np.asarray(number.value))
            _put_values(groups, values, found.marks)
            places = [
                (array, dataset.get_offset())
                for array, dataset in zip(found.arrays, datasets, strict=True)
                if array.array.nbytes
            ]
        extents = [(offset, offset + array.array.nbytes) for array, offset in places]
        placements = [Placement(array.row, offset) for array, offset in places]
        return FilePlan("", os.path.getsize(path), _pieces(path, extents), placements)


def _require_few_dims(array: NamedArray, how: Stored) -> None:
    if len(how.shape) > _MAX_NDIM:
        raise CannotConvert(
            f"{array.name!r} has {len(array.array.shape)} dimensions; HDF5 knows up to "
            f"{_MAX_NDIM}. Nothing was written. To leave it out: --skip {array.name!r}.",
            name=array.name,
        )


def _new_file(path: str) -> Any:
    # Version 1.8 of the format has no bound on how many attributes a group has.
    return h5py_library().File(
        path,
        "w",
        libver=("v108", "v108"),
        alignment_threshold=_ALIGNED_FROM,
        alignment_interval=_ALIGNMENT,
    )


def _put_values(groups: _Groups, values: Sequence[NamedValue], marks: Mapping[str, str]) -> None:
    for value in values:
        parent, _, last = value.name.rpartition("/")
        groups.owner(parent).attrs[last] = to_attribute(value.value)
    for name, mark in marks.items():
        group = groups.at(name)
        if name and mark != EMPTY:
            group.attrs[KIND_ATTRIBUTE] = mark


class _Groups:
    """Groups of a file that is made, each with its members in the order in which they were."""

    def __init__(self, h5py: Any, file: Any) -> None:
        self._h5py, self._file = h5py, file
        self._made: dict[str, Any] = {"": file}
        self._datasets: dict[str, Any] = {}
        order = h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED
        self._order = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
        self._order.set_link_creation_order(order)
        self._names = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        self._names.set_char_encoding(h5py.h5t.CSET_UTF8)

    def at(self, name: str) -> Any:
        """Return the group of a name, made if it is not there."""
        if name not in self._made:
            parent, _, last = name.rpartition("/")
            above = self.at(parent)
            made = self._h5py.h5g.create(
                above.id, last.encode(), lcpl=self._names, gcpl=self._order
            )
            self._made[name] = self._h5py.Group(made)
        return self._made[name]

    def owner(self, name: str) -> Any:
        """Return what has the attributes that are called ``name/…``: a dataset or a group."""
        found = self._datasets.get(name[:-1]) if name.endswith("@") else None
        return self.at(name) if found is None else found

    def put(self, name: str, value: np.ndarray[Any, Any]) -> None:
        """Make a small dataset with its elements in it."""
        parent, _, last = name.rpartition("/")
        self.at(parent).create_dataset(last, data=value)

    def place(self, name: str, how: Stored) -> Any:
        """Make a dataset with nothing in it, and return its identifier."""
        h5py = self._h5py
        parent, _, last = name.rpartition("/")
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.CONTIGUOUS)
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        kind = h5py.h5t.py_create(how.dtype, logical=True)
        space = h5py.h5s.create_simple(how.shape) if how.shape else h5py.h5s.create(h5py.h5s.SCALAR)
        above = self.at(parent)
        made = h5py.h5d.create(above.id, None, kind, space, dcpl=plist)
        h5py.h5o.link(made, above.id, last.encode(), lcpl=self._names)
        dataset = self._datasets[name] = h5py.Dataset(made)
        for attribute, value in how.attributes.items():
            dataset.attrs[attribute] = value
        return made


def _pieces(path: str, extents: Sequence[tuple[int, int]]) -> list[Piece]:
    """Return what of a laid-out file is no dataset."""
    pieces, at = [], 0
    with open(path, "rb") as file:
        for begin, end in [*sorted(extents), (os.path.getsize(path), 0)]:
            if begin > at:
                file.seek(at)
                pieces.append((at, file.read(begin - at)))
            at = max(at, end)
    return pieces


def _require_names(names: Sequence[str]) -> None:
    above: set[str] = set()
    for name in names:
        parts = name.split("/")
        if "\0" in name or any(part in ("", ".") for part in parts) or not is_utf8(name):
            raise _no_place(name, "it has a part between slashes that is empty, '.' or no text")
        if parts[0].startswith("holdfast.") or parts[-1].startswith("holdfast."):
            raise _no_place(name, "names that begin with 'holdfast.' are for marks")
        above.update(names_around(name))
    for name in names:
        if name in above:
            raise _no_place(name, "another name goes on behind it, as behind a group")


def _no_place(name: str, why: str) -> CannotConvert:
    return CannotConvert(
        f"{name!r} is no name for HDF5: {why}. Nothing was written. Change it with --rename, or "
        f"leave it out: --skip {name!r}.",
        name=name,
    )
