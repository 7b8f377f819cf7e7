"""Objects that tell before they change arrays, so that those may be copied until then.

An optimizer is one: its step changes the parameters and its own moments, and nothing else does
between two steps of a training loop that is written as usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from holdfast.state.arrays import adapter_of
from holdfast.state.objects import objects_in


@dataclass(frozen=True, slots=True)
class GuardKind:
    """How a framework's objects of one kind guard arrays.

    Attributes:
        applies: Says whether an object is of the kind.
        arrays: Gives the arrays that change only when it updates them.
        before_update: Has a function called before each update; gives what undoes that.
    """

    applies: Callable[[object], bool]
    arrays: Callable[[Any], Iterable[Any]]
    before_update: Callable[[Any, Callable[[], None]], Callable[[], None]]


_kinds: list[GuardKind] = []


def register_guard(kind: GuardKind) -> None:
    """Make a framework's guards known."""
    _kinds.append(kind)


def guards_in(state: Any) -> Iterator[tuple[Any, GuardKind]]:
    """Yield the guards of a state, each once, and of which kind they are."""
    seen = set()
    for value in objects_in(state):
        if id(value) in seen:
            continue
        seen.add(id(value))
        for kind in _kinds:
            if kind.applies(value):
                yield value, kind
                break


def guarded_addresses(state: Any) -> set[int]:
    """Return where the arrays begin in host memory that the guards of a state watch over."""
    found = set()
    for value, kind in guards_in(state):
        for array in kind.arrays(value):
            adapter = adapter_of(array)
            address = adapter.describe(array, "")[2] if adapter is not None else None
            if address is not None:
                found.add(address)
    return found
