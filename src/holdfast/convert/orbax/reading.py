"""Orbax checkpoints read: the tree from its description, with the arrays that TensorStore has."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.convert.orbax import metadata
from holdfast.convert.orbax.arrays import ArrayStore, damaged
from holdfast.convert.orbax.keys import as_key, generators_of_keys
from holdfast.convert.orbax.metadata import Leaf, TreeMetadata
from holdfast.errors import ForeignDamaged, ForeignRefused
from holdfast.foreign.arrays import ForeignArray

_TEXTS_FILE = "_strings.json"
_MAX_FILE_BYTES = 1 << 30


class ItemReader:
    """Reads one item of a checkpoint: a folder with a description and arrays.

    Args:
        folder: The item.

    Attributes:
        notes: What became another kind of value, a line each.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._path = str(folder)
        self.notes: list[str] = []

    def read(self) -> dict[str, Any]:
        """Return the tree.

        Raises:
            ForeignDamaged: Something of it is not there, or makes no sense.
            ForeignRefused: It leads out of its folder.
            MissingDependency: TensorStore is not installed.
        """
        self._refuse_links()
        about = self._about()
        if not about.is_ocdbt:
            self._require_inside(about.leaves)
        texts, store = self._texts(), ArrayStore(self._folder, self._path, about)
        arrays = store.opened([leaf.name for leaf in about.leaves if _has_array(leaf)])
        if about.is_complete:
            store.require_chunks(arrays)
        generators = generators_of_keys(self._folder, self._path)
        values: list[tuple[Leaf, Any]] = []
        for leaf in about.leaves:
            if leaf.name in arrays:
                value = store.value(leaf, arrays[leaf.name])
                if leaf.name in generators and isinstance(value, ForeignArray):
                    of = generators[leaf.name]
                    value = as_key(value, of, leaf.name, self._path, self.notes.append)
                values.append((leaf, value))
            else:
                values.append((leaf, self._plain(leaf, texts)))
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

    def _about(self) -> TreeMetadata:
        file = self._folder / metadata.FILE
        if file.is_file():
            return metadata.decode(self._bytes_of(file), str(file))
        # Without a description arrays have their names, and nothing is known of the tree.
        nothing = TreeMetadata((), True, False, False)
        keys = ArrayStore(self._folder, self._path, nothing).keys()
        names = [key.removesuffix("/.zarray") for key in keys if key.endswith("/.zarray")]
        leaves = [Leaf((name,), (metadata.MAPPING,), metadata.ARRAY) for name in names]
        return TreeMetadata(leaves, True, False, False)

    def _plain(self, leaf: Leaf, texts: Mapping[str, str]) -> Any:
        if leaf.value_type in metadata.EMPTY:
            return metadata.EMPTY[leaf.value_type]()
        if leaf.name not in texts:
            raise self._damaged(f"the text {leaf.name!r} is not there")
        return texts[leaf.name]

    def _texts(self) -> dict[str, str]:
        file = self._folder / _TEXTS_FILE
        if not file.is_file():
            return {}
        try:
            return {str(k): str(v) for k, v in json.loads(self._bytes_of(file)).items()}
        except (ValueError, AttributeError, RecursionError) as error:
            raise self._damaged(f"{_TEXTS_FILE} cannot be read ({error})") from error

    def _bytes_of(self, file: Path) -> bytes:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise self._damaged(f"{file.name} has {file.stat().st_size:,} bytes")
        return file.read_bytes()

    def _refused(self, what: str) -> ForeignRefused:
        return ForeignRefused(
            f"{self._path!r} is refused: {what}. Nothing was saved.", path=self._path, what=what
        )

    def _damaged(self, what: str) -> ForeignDamaged:
        return damaged(self._path, what)


def _has_array(leaf: Leaf) -> bool:
    return leaf.value_type not in metadata.EMPTY and leaf.value_type != metadata.TEXT
