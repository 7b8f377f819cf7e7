"""Values of foreign files as values that a state can hold, each change told."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

from holdfast.state.paths import join

_KEYS = (str, int, bool, float, type(None))


def savable(value: object, notes: list[str], path: str = "") -> Any:
    """Return a value as containers, arrays and plain values that a state can hold.

    Args:
        value: A tree of a foreign file.
        notes: Where what became another kind of value is told, a line each.
        path: Where in the tree it is.
    """
    if isinstance(value, dict):
        return _mapping(value, notes, path)
    if isinstance(value, list):
        return [savable(item, notes, join(path, i)) for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return tuple(savable(item, notes, join(path, i)) for i, item in enumerate(value))
    if isinstance(value, dt.date | dt.time) and not isinstance(value, dt.datetime):
        notes.append(f"{path or 'the root'}: {type(value).__name__} became text")
        return value.isoformat()
    for kind, make, became in _NEAREST:
        if isinstance(value, kind):
            notes.append(f"{path or 'the root'}: {type(value).__name__} became {became}")
            return savable(make(value), notes, path)
    return value


def _mapping(value: dict[object, object], notes: list[str], path: str) -> object:
    if not all(type(key) in _KEYS for key in value):
        notes.append(
            f"{path or 'the root'}: dict with other keys than texts and numbers became "
            "list of pairs"
        )
        return savable([list(pair) for pair in value.items()], notes, path)
    pairs = ((key, savable(item, notes, join(path, key))) for key, item in value.items())
    return OrderedDict(pairs) if isinstance(value, OrderedDict) else dict(pairs)


def _members(value: Iterable[object]) -> list[object]:
    # A set has no order; this one is the same every time.
    return sorted(value, key=lambda item: (type(item).__name__, repr(item)))


_NEAREST: tuple[tuple[type | tuple[type, ...], Callable[[Any], object], str], ...] = (
    ((set, frozenset), _members, "list"),
    (PurePath, str, "text"),
    ((Decimal, Fraction, UUID), str, "text"),
    (dt.timedelta, dt.timedelta.total_seconds, "seconds"),
    (range, list, "list"),
    (slice, lambda v: [v.start, v.stop, v.step], "list"),
    (dt.tzinfo, str, "text"),
)


def at_root(value: object, notes: list[str]) -> dict[str, Any]:
    """Return what a file holds as the root of a state; what is no mapping of names has one."""
    made = savable(value, notes)
    is_root = isinstance(made, dict) and all(
        isinstance(key, str) and not key.startswith("@") for key in made
    )
    return made if is_root else {"value": made}
