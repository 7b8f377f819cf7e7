"""Whether a state has changed since a moment.

Used when training is interrupted: a state that is no longer what it was at the end of the last
step is in the middle of the next one, and must not be saved as either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import date, time
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np
import xxhash

from holdfast.state import codecs, kinds
from holdfast.state.objects import objects_in
from holdfast.state.stateful import accessors

Probe = Callable[[Any], object]
_probes: list[tuple[Callable[[object], bool], Probe]] = []
# Of longer lists of plain values, histories mostly, the length and the last elements tell enough.
_LONG, _LAST = 10_000, 1000
_PLAIN: tuple[type, ...] = (bool, int, float, complex, str, bytes, type(None))
# What may be digested after every step: some milliseconds.
BUDGET_BYTES = 64 << 20


def register_change_probe(applies: Callable[[object], bool], probe: Probe) -> None:
    """Let a framework tell of changes that were made to its objects in place.

    What the probe gives must differ once the object has changed, and cost next to nothing.
    """
    _probes.append((applies, probe))


def mark(value: object) -> object:
    """Return something that differs once value has changed.

    Arrays of frameworks that count changes count by that, NumPy's by a digest, plain values by
    what they are, objects with a state of their own by that state. Where NumPy's arrays are too
    large to be digested after every step, no two marks are equal. Objects that say ``cheap_state``
    do not count: their state is remembered as a whole.
    """
    return _Marker().mark(value)


class _Marker:
    def __init__(self) -> None:
        self._budget = BUDGET_BYTES

    def mark(self, value: Any) -> object:
        for applies, probe in _probes:
            if applies(value):
                return probe(value)
        if type(value) in _PLAIN:
            return repr(value) if isinstance(value, float | complex) else (type(value), value)
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, np.generic | Enum | date | time | PurePath):
            return type(value), repr(value)
        if is_cheap(value):
            return 0
        if (codec := codecs.codec_of(type(value))) is not None:
            return self.mark(codec.encode(value))
        if (kind := kinds.kind_of(value)) is not None:
            return self.mark(kind.take(value))
        if isinstance(value, dict):
            return tuple((repr(key), self.mark(child)) for key, child in value.items())
        if isinstance(value, list | tuple):
            return self._sequence(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return tuple(self.mark(getattr(value, f.name)) for f in dataclasses.fields(value))
        found = accessors(value)
        # Of what is not known, nobody can say that it has not changed.
        return self.mark(found[0]()) if found is not None else object()

    def _sequence(self, value: list[Any] | tuple[Any, ...]) -> object:
        if not set(map(type, value)) <= set(_PLAIN):
            return tuple(map(self.mark, value))
        known = value if len(value) <= _LONG else value[-_LAST:]
        # As text: NaN is not equal to itself, and 1 is equal to True.
        return len(value), hash(repr(known))

    def _array(self, value: np.ndarray[Any, Any]) -> object:
        self._budget -= value.nbytes
        if self._budget < 0 or value.dtype.hasobject:
            return object()
        dense = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        return value.shape, xxhash.xxh3_128_digest(dense.data)


def is_cheap(value: object) -> bool:
    """Say whether a value's state may be taken after every step: a data position, a generator."""
    codec = codecs.codec_of(type(value))
    if codec is not None:
        return codec.cheap
    return bool(getattr(value, "cheap_state", False)) and accessors(value) is not None


def cheap_state(value: Any) -> object:
    """Return the state of a value that is cheap, as it is saved."""
    codec = codecs.codec_of(type(value))
    if codec is not None:
        return codec.encode(value)
    found = accessors(value)
    assert found is not None
    return found[0]()


def cheap_ones(value: Any) -> Iterator[Any]:
    """Yield every object of a state whose own state may be taken after every step."""
    return filter(is_cheap, objects_in(value))
