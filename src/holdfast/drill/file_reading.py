"""Checkpoints in files of other tools that a script has left behind, leaf by leaf."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from holdfast import foreign
from holdfast.drill.checkpoint_files import HDF5, SAFETENSORS, TORCH
from holdfast.drill.leaves import Leaf, Saved, flat, is_array, leaf_of, placed, to_numpy
from holdfast.errors import HoldfastError

# h5py tells of damage by any of Python's own.
_UNREADABLE = (
    *(HoldfastError, OSError, ImportError, zipfile.BadZipFile),
    *(ValueError, KeyError, RuntimeError),
)


def of_file(path: Path, key: str, places: Mapping[str, str], is_newest: bool) -> Saved:
    """Return what is in a file, or its bytes as one leaf where nobody can look into it.

    Args:
        path: Where it is.
        key: What it is called in every run of the script.
        places: Texts that differ from run to run, and what they become.
        is_newest: Whether it is the last one that was written.
    """
    try:
        found = _flat_at(path)
        if found is None:
            return Saved(key, {"bytes": _whole(path)}, is_newest=is_newest)
        # Some tools name values by where they are: Lightning its best checkpoints.
        names = {placed(name, places): name for name in found}
        leaves = {name: leaf_of(found[told], places) for name, told in names.items()}
    except _UNREADABLE as error:
        text = error.message if isinstance(error, HoldfastError) else str(error)
        return Saved(key, {"bytes": _whole(path)}, problem=text, is_newest=is_newest)

    def array(wanted: str) -> Any:
        value = (_flat_at(path) or {}).get(names[wanted])
        return to_numpy(value) if is_array(value) else None

    return Saved(key, leaves, array, is_newest=is_newest)


def _flat_at(path: Path) -> dict[str, Any] | None:
    """Return the values of a file by their paths in it; None where its format is not known."""
    seen = path.stat()
    return _flat_of(path, seen.st_mtime_ns, seen.st_size)


# Two are compared leaf by leaf, and reading one takes a process of its own.
@lru_cache(maxsize=2)
def _flat_of(path: Path, changed_ns: int, nbytes: int) -> dict[str, Any] | None:
    tree = _read(path)
    return None if tree is None else dict(flat(tree))


def _read(path: Path) -> object:
    suffix = path.suffix.lower()
    if suffix in SAFETENSORS:
        from holdfast.convert.safetensors import Safetensors

        return {name: array.numpy() for name, array in Safetensors().read(path).tree.items()}
    if suffix in HDF5:
        return _hdf5(path)
    if suffix in TORCH:
        return foreign.read(path, unknown="keep").root
    return None


def _hdf5(path: Path) -> dict[str, Any]:
    import h5py

    source: Any = path
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            source = io.BytesIO(archive.read("model.weights.h5"))
    found: dict[str, Any] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(source, "r") as file:
        file.visititems(note)
    return found


def _whole(path: Path) -> Leaf:
    digest = hashlib.blake2b(digest_size=12)
    try:
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        return Leaf("bytes", str(error))
    return Leaf("bytes", digest.hexdigest(), text=f"{path.stat().st_size} bytes")
