"""The objects in a state, whatever containers they are in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any


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
