"""HDF5 files to trees: groups are mappings, datasets lazy arrays, attributes plain values.

Nothing outside of the file is followed. Datasets that lie in one piece as they are in memory are
read from there, by several threads; others (in chunks, compressed, of another byte layout) through
h5py.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np

from holdfast.convert.containers import MARKS, rebuilt
from holdfast.convert.foreign_file import ForeignFile
from holdfast.convert.hdf5.attributes import NotPlain, from_attribute
from holdfast.convert.hdf5.element_types import DTYPE_ATTRIBUTE, found_type, named_type
from holdfast.convert.hdf5.library import damage_told, h5py_library
from holdfast.convert.hdf5.texts import read_texts
from holdfast.convert.lazy import Unheld
from holdfast.convert.selection import LONG_TEXTS
from holdfast.convert.slabs import Slab, slab_reader
from holdfast.errors import ForeignDamaged, ForeignRefused
from holdfast.foreign.arrays import ForeignArray
from holdfast.state.nodes import MAX_DEPTH

log = logging.getLogger("holdfast")

KIND_ATTRIBUTE = "holdfast.kind"


class Hdf5Reader:
    """Reads one file.

    Args:
        path: The file, for messages and for reading arrays.
        opened: What h5py opens: the path, or a file object.
        base: Where in the file at path HDF5's own offsets begin.
    """

    def __init__(self, path: str, opened: Any = None, base: int = 0) -> None:
        self._h5py = h5py_library()
        if not os.path.isfile(path):
            raise ForeignDamaged(f"{path!r} is no file. Nothing was saved.", path=path)
        self._file = ForeignFile(path)
        self._path = self._file.path
        self._base = base
        with damage_told(self._path):
            self._h5 = self._h5py.File(path if opened is None else opened, "r")
        self._seen: set[int] = set()

    def read(self) -> Any:
        """Return the tree of the file.

        Raises:
            ForeignDamaged: It is no whole HDF5 file.
            ForeignRefused: It leads out of itself, or around in circles.
        """
        with damage_told(self._path):
            return self._group(self._h5, "", 0)

    # --- groups ---

    def _group(self, group: Any, path: str, depth: int) -> Any:
        address = self._h5py.h5o.get_info(group.id).addr
        if address in self._seen or depth > MAX_DEPTH:
            raise ForeignRefused(
                f"{self._path!r} reaches the group {path or '/'!r} by two ways, or is too deep. "
                "Nothing was saved.",
                path=path,
            )
        self._seen.add(address)
        tree: dict[str, Any] = {}
        for name in group:
            self._member(tree, group, name, f"{path}/{name}", depth)
        attributes = self._attributes(group, path)
        mark = attributes.pop(KIND_ATTRIBUTE, None)
        for name, value in attributes.items():
            # Attributes and members are apart in HDF5, and may have one name.
            while name in tree:
                name += "@"
            tree[name] = value
        if depth == 0:
            return tree
        return rebuilt(tree, mark if isinstance(mark, str) and mark in MARKS else None)

    def _member(self, tree: dict[str, Any], group: Any, name: str, path: str, depth: int) -> None:
        self._require_inside(group, name, path)
        member = group[name]
        if isinstance(member, self._h5py.Group):
            tree[name] = self._group(member, path, depth + 1)
        elif isinstance(member, self._h5py.Dataset):
            attributes = self._attributes(member, path)
            tree[name] = self._dataset(member, attributes, path)
            if attributes:
                key = f"{name}@"
                while key in group:
                    key += "@"
                tree[key] = attributes
        else:
            log.warning("%s: the named type %s is left out", self._path, path)

    def _require_inside(self, group: Any, name: str, path: str) -> None:
        link = group.get(name, getlink=True)
        if isinstance(link, self._h5py.HardLink):
            return
        kind = "an external link" if isinstance(link, self._h5py.ExternalLink) else "a soft link"
        raise ForeignRefused(
            f"{path!r} of {self._path!r} is {kind}, which is not followed. Nothing was saved. "
            "Copy the file with its links resolved: h5repack or h5py's Group.copy(expand_soft=, "
            "expand_external=).",
            path=path,
        )

    def _attributes(self, owner: Any, path: str) -> dict[str, Any]:
        found = {}
        for name in owner.attrs:
            try:
                found[name] = from_attribute(owner.attrs[name])
            except (NotPlain, TypeError, OSError):
                log.warning(
                    "%s: the attribute %s of %s is left out: it is no plain value",
                    self._path,
                    name,
                    path or "/",
                )
        return found

    # --- datasets ---

    def _dataset(self, dataset: Any, attributes: dict[str, Any], path: str) -> Any:
        if dataset.is_virtual or dataset.external:
            raise ForeignRefused(
                f"{path!r} of {self._path!r} is made of parts of other files, which are not read. "
                "Nothing was saved. Copy it into one file with h5repack.",
                path=path,
            )
        dtype = dataset.dtype
        if dataset.shape is None:
            return from_attribute(self._h5py.Empty(dtype))
        if self._h5py.check_string_dtype(dtype) and dtype.hasobject:
            return read_texts(dataset, path, self._file)
        name, inner = (None, ()) if dtype.hasobject else found_type(dtype)
        if name is None:
            return Unheld(
                f"{path!r} of {self._path!r} has elements of {dtype}, which no checkpoint can hold"
            )
        return self._array(dataset, attributes, name, (*dataset.shape, *inner), path)

    def _array(
        self,
        dataset: Any,
        attributes: dict[str, Any],
        name: str,
        shape: tuple[int, ...],
        path: str,
    ) -> ForeignArray:
        framework, kept, outer = "numpy", name, shape
        beside = attributes.pop(DTYPE_ATTRIBUTE, None)
        if beside in LONG_TEXTS and name == "uint8" and len(shape) == 1:
            framework = str(beside)
        elif beside is not None:
            kept, outer = self._named(dataset, str(beside), shape, path)
        elif name == "np:|V2" and attributes.get("dtype") == "bfloat16":
            # As Keras has it: opaque elements of two bytes, and the name of their type beside.
            del attributes["dtype"]
            kept = "bfloat16"
        if kept == "complex32":
            # NumPy has no such type.
            framework = "torch"
        offset = self._offset(dataset)
        if offset is not None:
            return self._file.array(framework, kept, outer, offset)
        return self._through_h5py(dataset, framework, kept, outer)

    def _named(
        self, dataset: Any, beside: str, shape: tuple[int, ...], path: str
    ) -> tuple[str, tuple[int, ...]]:
        named = named_type(beside, shape, dataset.dtype.base.itemsize)
        if named is None:
            raise ForeignDamaged(
                f"{path!r} of {self._path!r} says that it is {beside!r}, but has elements of "
                f"{dataset.dtype}. Nothing was saved.",
                path=path,
            )
        return named

    def _offset(self, dataset: Any) -> int | None:
        """Return where in the file a dataset's bytes are as they are in memory; None if nowhere."""
        if dataset.id.get_create_plist().get_layout() != self._h5py.h5d.CONTIGUOUS:
            return None
        offset = dataset.id.get_offset()
        in_memory = self._h5py.h5t.py_create(dataset.dtype.base, logical=True)
        stored = dataset.id.get_type()
        if isinstance(stored, self._h5py.h5t.TypeArrayID):
            stored = stored.get_super()
        if offset is None or not stored.equal(in_memory):
            return None
        return int(offset) + self._base

    def _through_h5py(
        self, dataset: Any, framework: str, dtype: str, shape: tuple[int, ...]
    ) -> ForeignArray:
        path = self._path

        def fetch(slab: Slab) -> np.ndarray[Any, Any]:
            with damage_told(path):
                return np.asarray(dataset[slab] if slab else dataset[()])

        identity = (os.path.realpath(path), self._h5py.h5o.get_info(dataset.id).addr)
        read = slab_reader(dataset.shape, dataset.dtype.itemsize, fetch)
        return ForeignArray(framework, dtype, shape, read, identity)
