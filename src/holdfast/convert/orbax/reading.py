"""Orbax checkpoints read, by TensorStore: the tree from its description, arrays when asked for."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.convert.orbax import metadata
from holdfast.convert.orbax.metadata import Leaf, TreeMetadata
from holdfast.convert.orbax.ocdbt import MANIFEST
from holdfast.convert.slabs import Slab, slab_reader
from holdfast.errors import CannotConvert, ForeignDamaged, ForeignRefused, MissingDependency
from holdfast.foreign.arrays import ForeignArray
from holdfast.format import dtypes

_TEXTS_FILE = "_strings.json"
# Room for chunks that were unpacked, of which a part was not asked for yet.
_CACHE_BYTES = 64 << 20
_MAX_FILE_BYTES = 1 << 30
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


class ItemReader:
    """Reads one item of a checkpoint: a folder with a description and arrays.

    Args:
        folder: The item.
    """

    def __init__(self, folder: Path) -> None:
        self._ts = tensorstore_library()
        self._folder = folder.resolve()
        self._path = str(folder)

    def read(self) -> dict[str, Any]:
        """Return the tree.

        Raises:
            ForeignDamaged: Something of it is not there, or makes no sense.
            ForeignRefused: It leads out of its folder.
            CannotConvert: An array has an element type that no checkpoint of ours can have.
        """
        self._refuse_links()
        about = self._about()
        if not about.is_ocdbt:
            self._require_inside(about.leaves)
        texts = self._texts()
        wanted = [leaf for leaf in about.leaves if self._has_array(leaf)]
        arrays = self._opened(wanted, about)
        present = _count_chunks(self._keys(about), arrays.keys()) if about.is_complete else {}
        values = []
        for leaf in about.leaves:
            if leaf.name in arrays:
                if about.is_complete:
                    self._require_chunks(leaf.name, arrays[leaf.name], present[leaf.name])
                values.append((leaf, self._value(leaf, arrays[leaf.name])))
            elif leaf.value_type in metadata.EMPTY:
                values.append((leaf, metadata.EMPTY[leaf.value_type]()))
            elif leaf.name in texts:
                values.append((leaf, texts[leaf.name]))
            else:
                raise self._damaged(f"the text {leaf.name!r} is not there")
        return metadata.nested(values, self._path)

    def _refuse_links(self) -> None:
        for folder, folders, names in os.walk(self._folder):
            for name in (*folders, *names):
                path = Path(folder, name)
                if path.is_symlink() and not path.resolve().is_relative_to(self._folder):
                    raise self._refused(f"{str(path)!r} is a link that leads out of it")

    def _require_inside(self, leaves: Sequence[Leaf]) -> None:
        # Names are names of folders then.
        for leaf in leaves:
            if any(part in ("", ".", "..") or "\0" in part for part in leaf.name.split("/")):
                raise self._refused(f"the array {leaf.name!r} would be outside of it")

    def _has_array(self, leaf: Leaf) -> bool:
        return leaf.value_type not in metadata.EMPTY and leaf.value_type != metadata.TEXT

    def _about(self) -> TreeMetadata:
        file = self._folder / metadata.FILE
        if file.is_file():
            return metadata.decode(self._file(file), str(file))
        # Without a description arrays have their names, and nothing is known of the tree.
        about = TreeMetadata((), True, False, False)
        names = [
            key.removesuffix("/.zarray") for key in self._keys(about) if key.endswith("/.zarray")
        ]
        leaves = [Leaf((name,), (metadata.MAPPING,), metadata.ARRAY) for name in names]
        return TreeMetadata(leaves, True, False, False)

    def _texts(self) -> dict[str, Any]:
        file = self._folder / _TEXTS_FILE
        if not file.is_file():
            return {}
        try:
            return {str(k): str(v) for k, v in json.loads(self._file(file)).items()}
        except (ValueError, AttributeError, RecursionError) as error:
            raise self._damaged(f"{_TEXTS_FILE} cannot be read ({error})") from error

    def _file(self, file: Path) -> bytes:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise self._damaged(f"{file.name} has {file.stat().st_size:,} bytes")
        return file.read_bytes()

    # --- arrays ---

    def _store(self, about: TreeMetadata, name: str = "") -> dict[str, Any]:
        path = f"{name}/" if name else ""
        if not about.is_ocdbt:
            return {"driver": "file", "path": f"{self._folder}/{path}"}
        base = {"driver": "file", "path": f"{self._folder}/"}
        return {"driver": "ocdbt", "base": base, "path": path}

    def _keys(self, about: TreeMetadata) -> list[str]:
        with self._damage_told(MANIFEST):
            store = self._ts.KvStore.open(self._store(about)).result()
            return [key.decode("utf-8", "surrogateescape") for key in store.list().result()]

    def _opened(self, leaves: Sequence[Leaf], about: TreeMetadata) -> dict[str, Any]:
        """Return the arrays of leaves, opened all at a time, by their names."""
        room = _CACHE_BYTES
        while True:
            context = self._ts.Context({"cache_pool": {"total_bytes_limit": room}})
            pending = {leaf.name: self._open(leaf.name, about, context) for leaf in leaves}
            found = {}
            for name, future in pending.items():
                with self._damage_told(name):
                    found[name] = future.result()
            # Room for the largest chunk, or it would be unpacked again for every piece of it.
            wanted = _CACHE_BYTES + max(
                (_chunk_bytes(array) for array in found.values()), default=0
            )
            if wanted <= room:
                return found
            room = wanted

    def _open(self, name: str, about: TreeMetadata, context: Any) -> Any:
        spec = {
            "driver": "zarr3" if about.is_zarr3 else "zarr",
            "kvstore": self._store(about, name),
            # What is read does not change.
            "recheck_cached_data": False,
            "recheck_cached_metadata": False,
        }
        with self._damage_told(name):
            return self._ts.open(spec, context=context, read=True, open=True)

    def _require_chunks(self, name: str, array: Any, present: int) -> None:
        # TensorStore takes a chunk that is not there for one of zeros.
        chunk = array.chunk_layout.write_chunk.shape or ()
        wanted = prod(-(-n // max(1, c)) for n, c in zip(array.shape, chunk, strict=True))
        if present < wanted:
            raise self._damaged(f"{name!r} has {present} of {wanted} chunks")

    def _value(self, leaf: Leaf, array: Any) -> Any:
        dtype = array.dtype.name
        try:
            itemsize = dtypes.itemsize(dtype)
        except ValueError:
            raise CannotConvert(
                f"{leaf.name!r} of {self._path!r} has elements of {dtype}, which no checkpoint "
                "here can hold. Nothing was saved.",
                name=leaf.name,
            ) from None
        shape = tuple(array.shape)
        if leaf.value_type == metadata.SCALAR and not shape:
            with self._damage_told(leaf.name):
                scalar = array.read().result()[()]
            kind = _PYTHON.get(dtype)
            return kind(scalar) if kind else scalar

        def fetch(slab: Slab) -> np.ndarray[Any, Any]:
            with self._damage_told(leaf.name):
                return np.asarray((array[slab] if slab else array).read().result())

        read = slab_reader(shape, itemsize, fetch)
        return ForeignArray("numpy", dtype, shape, read, (str(self._folder), leaf.name))

    @contextmanager
    def _damage_told(self, name: str) -> Iterator[None]:
        try:
            yield
        except (ValueError, OSError, RuntimeError, KeyError) as error:
            raise self._damaged(f"{name!r} cannot be read: {error}") from error

    def _refused(self, what: str) -> ForeignRefused:
        return ForeignRefused(
            f"{self._path!r} is refused: {what}. Nothing was saved.", path=self._path, what=what
        )

    def _damaged(self, what: str) -> ForeignDamaged:
        return ForeignDamaged(
            f"{self._path!r} is no whole Orbax checkpoint: {what}. Nothing was saved.",
            path=self._path,
        )


def _chunk_bytes(array: Any) -> int:
    return prod(array.chunk_layout.read_chunk.shape or ()) * dtypes.itemsize(array.dtype.name)


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
