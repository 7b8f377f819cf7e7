"""safetensors: one file, or shards with an index as Hugging Face writes them.

A file is the length of its header in 8 bytes, little-endian; the header, JSON, padded with spaces;
then the arrays, dense and in C order, without gaps. See https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

from holdfast.convert.contract import FilePlan, Imported
from holdfast.convert.foreign_file import ForeignFile
from holdfast.convert.safetensors.reading import read_file, read_sharded, together
from holdfast.convert.safetensors.writing import (
    INDEX_SUFFIX,
    plan_file,
    plan_shards,
    require_place,
)
from holdfast.convert.selection import Selection
from holdfast.convert.shard_index import index_in, read_shard_index
from holdfast.errors import ForeignDamaged, UsageError

# What files of weights and states end with, here and in other tools.
_WEIGHTS = frozenset(
    {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".npz", ".npy"}
)


@final
class Safetensors:
    """The format ``safetensors``.

    Options for writing: ``shard_bytes`` cuts the arrays into files of at most that size, with an
    index; ``framework`` is what the metadata say the arrays are of (``pt`` if not given).
    """

    name = "safetensors"
    holds_values = False
    options: Sequence[str] = ("shard_bytes", "framework")
    members: Sequence[str] = ("*.safetensors", "*.safetensors.index.json")

    def recognises(self, path: Path) -> bool:
        if path.is_dir():
            return index_in(path, INDEX_SUFFIX) is not None or any(path.glob("*.safetensors"))
        if path.name.endswith(INDEX_SUFFIX):
            return True
        try:
            file = ForeignFile(path)
            length = int.from_bytes(file.read(0, 8), "little")
            return 2 <= length <= file.size - 8 and file.read(8, 1) == b"{"
        except (OSError, ForeignDamaged):
            return False

    def read(self, path: Path) -> Imported:
        found = self._read(path)
        others = _others_in(path)
        if others:
            some = ", ".join(map(repr, others[:5])) + (" …" if len(others) > 5 else "")
            found = replace(found, notes=[*found.notes, f"not read, though beside them: {some}"])
        return found

    def _read(self, path: Path) -> Imported:
        index = index_in(path, INDEX_SUFFIX) if path.is_dir() else path
        if index is not None and index.name.endswith(INDEX_SUFFIX):
            return read_sharded(index)
        if path.is_dir():
            files = _files_in(path)
            return together([read_file(file) for file in files], path)
        return read_file(path)

    def plan(self, selection: Selection, options: Mapping[str, object]) -> Sequence[FilePlan]:
        require_place(selection)
        framework = str(options.get("framework", "pt"))
        shard_bytes = options.get("shard_bytes")
        if shard_bytes is None:
            return [plan_file("", selection.arrays, framework)]
        if not isinstance(shard_bytes, int) or shard_bytes < 1:
            raise UsageError(f"shard_bytes={shard_bytes!r} is no number of bytes.")
        return plan_shards(selection.arrays, shard_bytes, framework)


def _others_in(folder: Path) -> list[str]:
    """Return files of weights and states in a folder that are not read with it."""
    if not folder.is_dir():
        return []
    index = index_in(folder, INDEX_SUFFIX)
    read = set(read_shard_index(index).files()) if index else {p.name for p in _files_in(folder)}
    return sorted(p.name for p in folder.iterdir() if p.suffix in _WEIGHTS and p.name not in read)


def _files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))
