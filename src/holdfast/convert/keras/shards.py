"""Weights of Keras in several files, with an index ``.weights.json`` that says what is where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.convert.hdf5.reading import Hdf5Reader
from holdfast.convert.keras.names import VARS
from holdfast.errors import ForeignDamaged

SUFFIX = ".weights.json"
_MAX_INDEX_BYTES = 1 << 28


def read_shards(index: Path) -> dict[str, Any]:
    """Return the tree that the files of an index make up.

    Raises:
        ForeignDamaged: Index and files disagree, or something is not there.
    """
    places = _places(index)
    tree: dict[str, Any] = {}
    found: set[tuple[str, str]] = set()
    for name in sorted({name for _, name in places}):
        # The index names files beside it, and nothing else.
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            raise _damaged(index, f"it names {name!r}, which is no file beside it")
        if not (index.parent / name).is_file():
            raise _damaged(index, f"it names {name!r}, which is not there")
        shard = Hdf5Reader(str(index.parent / name)).read()
        found |= {(path, name) for path in _groups(shard, "")}
        _merge(tree, shard, index)
    if odd := sorted(places ^ found):
        raise _damaged(index, f"it and {odd[0][1]!r} disagree about {odd[0][0]!r}")
    return tree


def _places(index: Path) -> set[tuple[str, str]]:
    """Return the groups of variables with the file of each; one may be in several."""
    try:
        if index.stat().st_size > _MAX_INDEX_BYTES:
            raise ValueError("it is too large")
        entries = json.loads(index.read_bytes())["weight_map"].items()
        listed = {group: [at] if isinstance(at, str) else at for group, at in entries}
        return {(str(group), str(name)) for group, names in listed.items() for name in names}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(index, f"it cannot be read ({error!r})") from error


def _groups(tree: Mapping[str, Any], path: str) -> set[str]:
    """Return the paths of groups in which there are variables."""
    found = set()
    for name, member in tree.items():
        if isinstance(member, Mapping):
            below = f"{path}/{name}"
            if name == VARS and any(key != "name" for key in member):
                found.add(below)
            found |= _groups(member, below)
    return found


def _merge(tree: dict[str, Any], more: Mapping[str, Any], index: Path) -> None:
    for name, member in more.items():
        if name not in tree:
            tree[name] = member
        elif isinstance(tree[name], dict) and isinstance(member, Mapping):
            _merge(tree[name], member, index)
        elif isinstance(member, str) and member == tree[name]:
            # The name of a layer whose variables are in several files.
            continue
        else:
            raise _damaged(index, f"two of its files have {name!r}")


def _damaged(index: Path, what: str) -> ForeignDamaged:
    return ForeignDamaged(
        f"The index {str(index)!r} is not that of whole weights: {what}. Nothing was saved.",
        path=str(index),
    )
