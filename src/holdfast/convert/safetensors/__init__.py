"""safetensors: one file, or shards with an index as Hugging Face writes them.

A file is the length of its header in 8 bytes, little-endian; the header, JSON, padded with spaces;
then the arrays, dense and in C order, without gaps. See https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

from holdfast.convert.bounds import require_inside
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
from holdfast.convert.shard_index import index_at, others_beside, read_shard_index
from holdfast.errors import ForeignDamaged, UsageError


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
        if index_at(path, INDEX_SUFFIX) is not None:
            return True
        if path.is_dir():
            return any(path.glob("*.safetensors"))
        try:
            file = ForeignFile(path)
            length = int.from_bytes(file.read(0, 8), "little")
            return 2 <= length <= file.size - 8 and file.read(8, 1) == b"{"
        except (OSError, ForeignDamaged):
            return False

    def read(self, path: Path) -> Imported:
        index = index_at(path, INDEX_SUFFIX)
        if index is None and not path.is_dir():
            return read_file(path)
        files = [require_inside(file, path) for file in sorted(path.glob("*.safetensors"))]
        found = read_sharded(index) if index else together([read_file(f) for f in files], path)
        if not path.is_dir():
            return found
        read = read_shard_index(index).files() if index else {file.name for file in files}
        return replace(found, notes=[*found.notes, *others_beside(path, read)])

    def plan(self, selection: Selection, options: Mapping[str, object]) -> Sequence[FilePlan]:
        require_place(selection)
        framework = str(options.get("framework", "pt"))
        shard_bytes = options.get("shard_bytes")
        if shard_bytes is None:
            return [plan_file("", selection.arrays, framework)]
        if not isinstance(shard_bytes, int) or shard_bytes < 1:
            raise UsageError(f"shard_bytes={shard_bytes!r} is no number of bytes.")
        return plan_shards(selection.arrays, shard_bytes, framework)
