"""Weights of Keras in several files, with an index ``.weights.json`` that says what is where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.convert.hdf5.reading import Hdf5Reader
from holdfast.convert.keras.names import VARS
from holdfast.convert.shard_index import ShardIndex, read_shard_index

SUFFIX = ".weights.json"


def read_shards(path: Path) -> dict[str, Any]:
    """Return the tree that the files of an index make up.

    Raises:
        ForeignDamaged: Index and files disagree, or something is not there.
    """
    index = read_shard_index(path)
    tree: dict[str, Any] = {}
    found: set[tuple[str, str]] = set()
    for name, file in index.files().items():
        shard = Hdf5Reader(str(file)).read()
        found |= {(group, name) for group in _groups(shard, "")}
        _merge(tree, shard, index)
    # A group of variables may be in several files.
    places = {(group, name) for group, files in index.places.items() for name in files}
    if odd := sorted(places ^ found):
        raise index.damaged(f"it and {odd[0][1]!r} disagree about {odd[0][0]!r}")
    return tree


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


def _merge(tree: dict[str, Any], more: Mapping[str, Any], index: ShardIndex) -> None:
    for name, member in more.items():
        if name not in tree:
            tree[name] = member
        elif isinstance(tree[name], dict) and isinstance(member, Mapping):
            _merge(tree[name], member, index)
        elif isinstance(member, str) and member == tree[name]:
            # The name of a layer whose variables are in several files.
            continue
        else:
            raise index.damaged(f"two of its files have {name!r}")
