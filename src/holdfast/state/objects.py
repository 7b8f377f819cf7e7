"""The objects in a state, whatever containers they are in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from holdfast.state.paths import join


def objects_in(value: Any) -> Iterator[Any]:
    """Yield what a state is made of but for its containers, in tree order."""
    if isinstance(value, dict):
        children = list(value.values())
    elif isinstance(value, list | tuple):
        children = list(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        children = [getattr(value, f.name) for f in dataclasses.fields(value)]
    else:
        yield value
        return
    for child in children:
        yield from objects_in(child)


def found_in(
    value: Any,
    is_wanted: Callable[[Any], bool],
    join: Callable[[str, object], str] = join,
    path: str = "",
) -> Iterator[tuple[str, Any]]:
    """Yield the values of one kind in nested mappings and sequences with their paths.

    What is within one that is wanted is not looked at. ``join`` makes the path of what is in a
    container, from the container's and a key.

    >>> list(found_in({"a": [1, "x"], "b/c": "y"}, lambda value: isinstance(value, str)))
    [('a/1', 'x'), ('b~1c', 'y')]
    """
    if is_wanted(value):
        yield path, value
    elif isinstance(value, Mapping | list | tuple):
        for key, child in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from found_in(child, is_wanted, join, join(path, key))
