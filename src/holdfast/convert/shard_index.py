"""Indices of weights in several files: JSON whose ``weight_map`` says which file has what."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.convert.bounds import require_inside
from holdfast.errors import ForeignDamaged

_MAX_INDEX_BYTES = 1 << 28
# What files of weights and states end with, here and in other tools.
_WEIGHTS = frozenset(
    {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".npz", ".npy"}
)


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """What an index says.

    Attributes:
        path: The index.
        places: The files of each name that it has, most often one.
        metadata: What it says besides.
    """

    path: Path
    places: Mapping[str, Sequence[str]]
    metadata: object

    def files(self) -> dict[str, Path]:
        """Return the files that it names, by their names in order; all are there.

        Raises:
            ForeignDamaged: One is not, or would not be beside the index.
            ForeignRefused: One is a link that leads out of the folder.
        """
        names = sorted({name for files in self.places.values() for name in files})
        return {name: self._beside(name) for name in names}

    def _beside(self, name: str) -> Path:
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            raise self.damaged(f"it names {name!r}, which is no file beside it")
        if not (self.path.parent / name).is_file():
            raise self.damaged(f"it names {name!r}, which is not there")
        return require_inside(self.path.parent / name, self.path.parent)

    def damaged(self, what: str) -> ForeignDamaged:
        """Return the error for an index that is not that of the files beside it."""
        return _damaged(self.path, what)


def read_shard_index(path: Path) -> ShardIndex:
    """Return what an index says.

    Raises:
        ForeignDamaged: It makes no sense.
    """
    try:
        if path.stat().st_size > _MAX_INDEX_BYTES:
            raise ValueError("it is too large")
        content = json.loads(path.read_bytes())
        places = {str(name): _files(at) for name, at in content["weight_map"].items()}
        return ShardIndex(path, places, content.get("metadata", {}))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"it cannot be read ({error!r})") from error


def index_at(path: Path, suffix: str) -> Path | None:
    """Return the index that a path is, or the only one in the folder that it is, by its ending."""
    if path.is_file():
        return path if path.name.endswith(suffix) else None
    found = sorted(path.glob(f"*{suffix}")) if path.is_dir() else []
    return found[0] if len(found) == 1 else None


def others_beside(folder: Path, read: Collection[str]) -> list[str]:
    """Return a note of the files of weights and states in a folder that are not read with it."""
    names = sorted(p.name for p in folder.iterdir() if p.suffix in _WEIGHTS and p.name not in read)
    some = ", ".join(map(repr, names[:5])) + (" …" if len(names) > 5 else "")
    return [f"not read, though beside them: {some}"] if names else []


def joined(index: ShardIndex, shards: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the arrays of all files by name, in the order of the index.

    Args:
        index: What says where they are.
        shards: What each file has, by its name.

    Raises:
        ForeignDamaged: Index and files disagree.
    """
    for shard, found in shards.items():
        named = {name for name, files in index.places.items() if shard in files}
        if odd := sorted(named ^ found.keys()):
            raise index.damaged(f"it and {shard!r} disagree about {odd[0]!r}")
    tree: dict[str, Any] = {}
    for name, files in index.places.items():
        if len(files) != 1:
            raise index.damaged(f"it has {name!r} in {len(files)} files")
        tree[name] = shards[files[0]][name]
    return tree


def _files(listed: str | Sequence[object]) -> list[str]:
    return [listed] if isinstance(listed, str) else [str(name) for name in listed]


def _damaged(path: Path, what: str) -> ForeignDamaged:
    return ForeignDamaged(
        f"The index {str(path)!r} is not that of whole weights: {what}. Nothing was saved.",
        path=str(path),
    )
