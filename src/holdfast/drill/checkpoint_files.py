"""Checkpoints that a script has left behind: holdfast stores, and files of other tools."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import foreign
from holdfast.drill.leaves import Leaf, Saved, flat, is_array, leaf_of, placed, to_numpy
from holdfast.drill.work_folder import RunFolder, Seen
from holdfast.errors import HoldfastError
from holdfast.format.names import MARKER_KEY

if TYPE_CHECKING:
    from holdfast.history.info import CheckpointInfo
    from holdfast.repository import Store

OpenStore = Callable[[str], "Store"]

_TORCH = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".joblib", ".npz", ".npy", ".tar")
_SAFE = (".safetensors",)
_HDF5 = (".h5", ".hdf5", ".keras")
# Their bytes alone are compared.
_OPAQUE = (".msgpack", ".index", ".orbax", ".pdparams")
SUFFIXES = (*_TORCH, *_SAFE, *_HDF5, *_OPAQUE)
_TENSORFLOW = re.compile(r"\.data-\d{5}-of-\d{5}$")
# What counts up with each start of a tool, and is no part of what a file is.
_VERSION = re.compile(r"\bversion_\d+")


@dataclass(frozen=True, slots=True)
class Found:
    """What checkpoints a folder has: paths of stores, and files with the time of their change."""

    stores: tuple[str, ...]
    files: Mapping[str, Seen]

    def __bool__(self) -> bool:
        return bool(self.stores or self.files)


def is_checkpoint(name: str) -> bool:
    """Say whether a file has the name of a checkpoint."""
    return name.lower().endswith(SUFFIXES) or _TENSORFLOW.search(name) is not None


def find(folder: RunFolder) -> Found:
    """Return the checkpoints that a run of the script has made."""
    stores, files = [], {}
    for name, seen in folder.files():
        if os.path.basename(name) == MARKER_KEY:
            stores.append(os.path.dirname(name))
        else:
            files[name] = seen
    files = {
        name: seen
        for name, seen in files.items()
        if is_checkpoint(name) and not any(name.startswith(store + os.sep) for store in stores)
    }
    return Found(tuple(sorted(stores)), files)


def read_all(folder: RunFolder, found: Found, open_store: OpenStore) -> tuple[Saved, ...]:
    """Read everything that was found: of each run in a store its newest checkpoint and its tags."""
    places = {str(folder.root): "{run}", str(folder.root.resolve()): "{run}"}
    saved: list[Saved] = []
    for store in found.stores:
        saved += _in_store(folder.root / store, store, open_store, places)
    newest = max((seen.changed_ns for seen in found.files.values()), default=0)
    latest: dict[str, str] = {}
    for name in sorted(found.files, key=lambda name: found.files[name].changed_ns):
        latest[_VERSION.sub("version_*", name)] = name
    for key, name in latest.items():
        is_newest = found.files[name].changed_ns == newest
        saved.append(_of_file(folder.root / name, key, places, is_newest))
    return tuple(saved)


def _in_store(
    path: Path, name: str, open_store: OpenStore, places: Mapping[str, str]
) -> Iterable[Saved]:
    try:
        store = open_store(str(path))
        for run in store.runs():
            log = store.log(run)
            if not log:
                continue
            newest = log[-1]
            yield _checkpoint(store, newest.ref, f"{name}: {run}@latest", places, newest=True)
            for info in log:
                for tag in info.tags:
                    if info.id != newest.id:
                        yield _checkpoint(store, info.ref, f"{name}: {run}@{tag}", places)
    except HoldfastError as error:
        yield Saved(name, {}, problem=error.message)


def _checkpoint(
    store: Store, ref: str, key: str, places: Mapping[str, str], newest: bool = False
) -> Saved:
    info = store.info(ref)
    leaves: dict[str, Leaf] = {}
    with closing(_Unpacked(store, info)) as unpacked:
        arrays = unpacked.arrays
        for leaf in store.leaves(ref):
            if leaf.kind != "array":
                leaves[leaf.path] = leaf_of(leaf.value, places)
                continue
            owner = leaf.alias_of or leaf.path
            found = leaf_of(arrays[owner], places) if owner in arrays else Leaf("array", "")
            leaves[leaf.path] = replace(
                found, dtype=leaf.dtype or "", shape=leaf.shape or (), tie=owner
            )
    leaves["@step"] = leaf_of(info.step, places)

    # Once for all leaves that differ, and only if one does.
    opened: list[_Unpacked] = []

    def array(path: str) -> Any:
        if not opened:
            opened.append(_Unpacked(store, info))
        return opened[0].arrays.get(path)

    return Saved(key, leaves, array, is_newest=newest)


class _Unpacked:
    """The arrays of a checkpoint in a temporary file, which goes with this object."""

    def __init__(self, store: Store, info: CheckpointInfo) -> None:
        import numpy as np

        folder = tempfile.mkdtemp(prefix="holdfast-drill-")
        self.close = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        store.unpack(info, folder)
        self.arrays: Any = np.load(os.path.join(folder, "arrays.npz"))


def _of_file(path: Path, key: str, places: Mapping[str, str], is_newest: bool) -> Saved:
    try:
        found = _flat_at(path)
    except (HoldfastError, OSError, ValueError, KeyError, ImportError) as error:
        text = error.message if isinstance(error, HoldfastError) else str(error)
        return Saved(key, {"bytes": _whole(path)}, problem=text, is_newest=is_newest)
    if found is None:
        return Saved(key, {"bytes": _whole(path)}, is_newest=is_newest)

    # Some tools name values by where they are: Lightning its best checkpoints.
    names = {placed(name, places): name for name in found}

    def array(wanted: str) -> Any:
        value = (_flat_at(path) or {}).get(names[wanted])
        return to_numpy(value) if is_array(value) else None

    leaves = {name: leaf_of(found[told], places) for name, told in names.items()}
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
    if suffix in _SAFE:
        from holdfast.convert.safetensors import Safetensors

        return {name: _as_array(value) for name, value in Safetensors().read(path).tree.items()}
    if suffix in _HDF5:
        return _hdf5(path)
    if suffix in _TORCH:
        return foreign.read(path, unknown="keep").root
    return None


def _as_array(value: Any) -> Any:
    import numpy as np

    from holdfast.format import dtypes

    data = np.empty(value.nbytes, np.uint8)
    value.read(0, data.data)
    return data.view(dtypes.to_numpy(value.dtype)).reshape(value.shape)


def _hdf5(path: Path) -> dict[str, Any]:
    import h5py

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            data = io.BytesIO(archive.read("model.weights.h5"))
        source: Any = data
    else:
        source = path
    found: dict[str, Any] = {}
    with h5py.File(source, "r") as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
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
