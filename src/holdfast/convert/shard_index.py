"""Indices of weights in several files: JSON whose ``weight_map`` says which file has what."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import ForeignDamaged

_MAX_INDEX_BYTES = 1 << 28


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
        """
        names = sorted({name for files in self.places.values() for name in files})
        return {name: self._beside(name) for name in names}

    def _beside(self, name: str) -> Path:
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            raise self.damaged(f"it names {name!r}, which is no file beside it")
        if not (self.path.parent / name).is_file():
            raise self.damaged(f"it names {name!r}, which is not there")
        return self.path.parent / name

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


def _files(listed: str | Sequence[object]) -> list[str]:
    return [listed] if isinstance(listed, str) else [str(name) for name in listed]


def _damaged(path: Path, what: str) -> ForeignDamaged:
    return ForeignDamaged(
        f"The index {str(path)!r} is not that of whole weights: {what}. Nothing was saved.",
        path=str(path),
    )
