"""Trees of mappings and lists, put together and read by path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.integrations.dcp_index import Path


def put(tree: dict[Any, Any], path: Path, value: object) -> None:
    """Put a value at a path; what leads there is made: lists under numbers, else mappings."""
    here: Any = tree
    for key, following in zip(path, path[1:], strict=False):
        if isinstance(here, list):
            _extend(here, int(key))
            if here[key] is None:
                here[key] = [] if isinstance(following, int) else {}
            here = here[key]
        else:
            here = here.setdefault(key, [] if isinstance(following, int) else {})
    if isinstance(here, list):
        _extend(here, int(path[-1]))
    here[path[-1]] = value


def get(tree: Any, path: Sequence[str | int]) -> Any:
    """Return what is at a path."""
    for key in path:
        tree = tree[key]
    return tree


def _extend(values: list[Any], index: int) -> None:
    values.extend([None] * (index + 1 - len(values)))
