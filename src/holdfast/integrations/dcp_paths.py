"""Trees of mappings and lists, put together and read by path."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from holdfast.integrations.dcp_index import Path


def put(tree: dict[Any, Any], path: Path, value: object) -> None:
    """Put a value at a path; what leads there is made: lists under numbers, else mappings."""
    here: Any = tree
    for key, following in pairwise(path):
        _make_room(here, key)
        is_there = here[int(key)] is not None if isinstance(here, list) else key in here
        if not is_there:
            here[key] = [] if isinstance(following, int) else {}
        here = here[key]
    _make_room(here, path[-1])
    here[path[-1]] = value


def get(tree: Any, path: Sequence[str | int]) -> Any:
    """Return what is at a path."""
    for key in path:
        tree = tree[key]
    return tree


def _make_room(here: Any, key: str | int) -> None:
    if isinstance(here, list):
        here.extend([None] * (int(key) + 1 - len(here)))
