"""The arrays of an Orbax checkpoint, by TensorStore: opened together, read when asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.convert.lazy import Unheld
from holdfast.convert.orbax import metadata
from holdfast.convert.orbax.metadata import Leaf, TreeMetadata
from holdfast.convert.orbax.ocdbt import MANIFEST
from holdfast.convert.slabs import Slab, slab_reader
from holdfast.errors import ForeignDamaged, MissingDependency
from holdfast.foreign.arrays import ForeignArray
from holdfast.format import dtypes

# Room for chunks that were unpacked, of which a part was not asked for yet.
_CACHE_BYTES = 64 << 20
_PYTHON = {"bool": bool, "int64": int, "float64": float}


def tensorstore_library() -> Any:
    """Return the module tensorstore.

    Raises:
        MissingDependency: It is not installed.
    """
    try:
        import tensorstore
    except ImportError as error:
        raise MissingDependency(
            "Orbax checkpoints need the package tensorstore to be read, which is not installed. "
            "Install it with: pip install 'holdfast[orbax]'",
            package="tensorstore",
        ) from error
    return tensorstore


def damaged(path: str, what: str) -> ForeignDamaged:
    """Return the error for a checkpoint that is not whole."""
    return ForeignDamaged(
        f"{path!r} is no whole Orbax checkpoint: {what}. Nothing was saved.", path=path
    )


class ArrayStore:
    """Where the arrays of an item are.

    Args:
        folder: The item, links resolved.
        path: The item, for messages.
        about: How its arrays are stored.

    Raises:
        MissingDependency: TensorStore is not installed.
    """

    def __init__(self, folder: Path, path: str, about: TreeMetadata) -> None:
        self._ts = tensorstore_library()
        self._folder, self._path, self._about = folder, path, about

    def keys(self) -> list[str]:
        """Return the keys of everything that is stored."""
        with self._damage_told(MANIFEST):
            store = self._ts.KvStore.open(self._spec()).result()
            return [key.decode("utf-8", "surrogateescape") for key in store.list().result()]

    def opened(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the arrays of names, opened all at a time."""
        room = _CACHE_BYTES
        while True:
            context = self._ts.Context({"cache_pool": {"total_bytes_limit": room}})
            pending = {name: self._open(name, context) for name in names}
            found = {}
            for name, future in pending.items():
                with self._damage_told(name):
                    found[name] = future.result()
            # Room for the largest chunk, or it would be unpacked again for every piece of it.
            largest = max(map(_chunk_bytes, found.values()), default=0)
            if _CACHE_BYTES + largest <= room:
                return found
            room = _CACHE_BYTES + largest

    def require_chunks(self, arrays: Mapping[str, Any]) -> None:
        """Raise ForeignDamaged where chunks are missing, which TensorStore takes for zeros."""
        present = _count_chunks(self.keys(), arrays.keys())
        for name, array in arrays.items():
            chunk = array.chunk_layout.write_chunk.shape or ()
            wanted = prod(-(-n // max(1, c)) for n, c in zip(array.shape, chunk, strict=True))
            if present[name] < wanted:
                raise damaged(self._path, f"{name!r} has {present[name]} of {wanted} chunks")

    def value(self, leaf: Leaf, array: Any) -> Any:
        """Return what is at a leaf: a lazy array, or a plain number."""
        dtype, shape = array.dtype.name, tuple(array.shape)
        try:
            itemsize = dtypes.itemsize(dtype)
        except ValueError:
            return Unheld(
                f"{leaf.name!r} of {self._path!r} has elements of {dtype}, which no checkpoint "
                "here can hold"
            )
        if leaf.value_type == metadata.SCALAR and not shape:
            return self._number(leaf, array)

        def fetch(slab: Slab) -> np.ndarray[Any, Any]:
            with self._damage_told(leaf.name):
                return np.asarray((array[slab] if slab else array).read().result())

        read = slab_reader(shape, itemsize, fetch)
        return ForeignArray("numpy", dtype, shape, read, (str(self._folder), leaf.name))

    def _number(self, leaf: Leaf, array: Any) -> Any:
        with self._damage_told(leaf.name):
            scalar = array.read().result()[()]
        kind = _PYTHON.get(array.dtype.name)
        return kind(scalar) if kind else scalar

    def _spec(self, name: str = "") -> dict[str, Any]:
        path = f"{name}/" if name else ""
        if not self._about.is_ocdbt:
            return {"driver": "file", "path": f"{self._folder}/{path}"}
        base = {"driver": "file", "path": f"{self._folder}/"}
        return {"driver": "ocdbt", "base": base, "path": path}

    def _open(self, name: str, context: Any) -> Any:
        spec = {
            "driver": "zarr3" if self._about.is_zarr3 else "zarr",
            "kvstore": self._spec(name),
            # What is read does not change.
            "recheck_cached_data": False,
            "recheck_cached_metadata": False,
        }
        with self._damage_told(name):
            return self._ts.open(spec, context=context, read=True, open=True)

    @contextmanager
    def _damage_told(self, name: str) -> Iterator[None]:
        try:
            yield
        except (ValueError, OSError, RuntimeError, KeyError) as error:
            raise damaged(self._path, f"{name!r} cannot be read: {error}") from error


def _chunk_bytes(array: Any) -> int:
    # Also of a type that is refused later.
    itemsize: int = array.dtype.numpy_dtype.itemsize
    return prod(array.chunk_layout.read_chunk.shape or ()) * itemsize


def _count_chunks(keys: Sequence[str], names: Collection[str]) -> Counter[str]:
    """Return how many chunks each array has."""
    found: Counter[str] = Counter()
    for key in keys:
        name, slash, rest = key.partition("/")
        while slash and name not in names:
            more, slash, rest = rest.partition("/")
            name = f"{name}/{more}"
        found[name] += rest not in (".zarray", ".zattrs", "zarr.json")
    return found
