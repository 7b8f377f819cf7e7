"""Whether a state has changed since a moment, told from counters that frameworks keep.

Used when training is interrupted: a state that is no longer what it was at the end of the last
step is in the middle of the next one, and must not be saved as either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from holdfast.state.stateful import accessors

Probe = Callable[[Any], int]
_probes: list[tuple[Callable[[object], bool], Probe]] = []
# Of longer lists, histories mostly, the length and the last elements tell enough.
_LAST = 16


def register_change_probe(applies: Callable[[object], bool], probe: Probe) -> None:
    """Let a framework count the changes that were made to its objects in place."""
    _probes.append((applies, probe))


def mark(value: object) -> object:
    """Return something that differs once value has changed.

    Arrays count by their framework's counters, plain values by what they are, objects with a
    state of their own by that state. Arrays without counters, NumPy's, count as unchanged, and so
    do objects that say ``cheap_state``: their state is remembered as a whole.
    """
    for applies, probe in _probes:
        if applies(value):
            return probe(value)
    if isinstance(value, bool | int | float | complex | str | bytes | None):
        return repr(value) if isinstance(value, float | complex) else value
    if isinstance(value, dict):
        return tuple((repr(key), mark(child)) for key, child in value.items())
    if isinstance(value, list | tuple):
        return len(value), tuple(mark(child) for child in value[-_LAST:])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return tuple(mark(getattr(value, f.name)) for f in dataclasses.fields(value))
    found = None if getattr(value, "cheap_state", False) else accessors(value)
    return mark(found[0]()) if found is not None else 0
