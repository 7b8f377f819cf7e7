"""PyTorch's ``.pt`` and ``.pth``: any form of them is read, the form since 1.6 is written.

Weights in several files are read with the index that ``transformers`` puts beside them.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

from holdfast.convert.contract import FilePlan, Imported
from holdfast.convert.nesting import nest
from holdfast.convert.pickled_files import begins_with, members_of, read_pickled
from holdfast.convert.selection import Selection
from holdfast.convert.shard_index import index_at, joined, others_beside, read_shard_index
from holdfast.convert.torch_archive import plan_archive
from holdfast.foreign import Unknown
from holdfast.foreign.torch_legacy import MAGIC

_MAGIC_BYTES = MAGIC.to_bytes(10, "little")
_INDEX_SUFFIX = ".bin.index.json"
_TAR_MEMBERS = frozenset({"sys_info", "storages", "tensors", "pickle"})


@final
class Torch:
    """The format ``torch``."""

    name = "torch"
    holds_values = True
    options: Sequence[str] = ()
    members: Sequence[str] = ()
    keeps_tree = True

    def recognises(self, path: Path) -> bool:
        if index_at(path, _INDEX_SUFFIX) is not None:
            return True
        if not path.is_file():
            return False
        if any(name.rpartition("/")[2] == "data.pkl" for name in members_of(path)):
            return True
        head = begins_with(path, 32)
        return (head.startswith(b"\x80") and _MAGIC_BYTES in head) or _is_tar(path)

    def read(self, path: Path) -> Imported:
        return self.read_unknown(path, "refuse")

    def read_unknown(self, path: Path, unknown: Unknown) -> Imported:
        index = index_at(path, _INDEX_SUFFIX)
        if index is None:
            return read_pickled(path, unknown)
        found = _read_sharded(index, unknown)
        if not path.is_dir():
            return found
        read = read_shard_index(index).files()
        return replace(found, notes=[*found.notes, *others_beside(path, read)])

    def plan(self, selection: Selection, options: Mapping[str, object]) -> Sequence[FilePlan]:
        nested = nest(selection)
        plan = plan_archive(nested.value, selection.part.arrays)
        return [plan.as_file(tuple(nested.notes))]


def _read_sharded(path: Path, unknown: Unknown) -> Imported:
    index = read_shard_index(path)
    shards = {name: read_pickled(file, unknown) for name, file in index.files().items()}
    tree = joined(index, {name: shard.tree for name, shard in shards.items()})
    notes = [f"{name}: {note}" for name, shard in shards.items() for note in shard.notes]
    return Imported(tree, {"metadata": index.metadata}, notes)


def _is_tar(path: Path) -> bool:
    try:
        with tarfile.open(path, "r:") as archive:
            member = archive.next()
            return member is not None and member.name in _TAR_MEMBERS
    except (tarfile.TarError, OSError, ValueError, EOFError):
        return False
