"""Objects of frameworks that neither have a ``state_dict`` nor are plain containers.

A kind says what the state of such an object is and how it is put back. Where the object cannot
change, a new one takes its place in the container that holds it, as with a plain number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.state import codecs
from holdfast.state.nodes import Node


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """How objects of one kind give their state and take it.

    Attributes:
        applies: Says whether an object is of the kind; decided once for each class.
        take: Gives the state, a dict made for the caller; its leaves are the object's own.
        put: Takes the object and a state; gives the object, or the one that takes its place.
        prepare: Makes an object ready to take what was saved, as by making slots that would come
            with the first step, and gives the keys that it has no use for. It changes no value.
        leafwise: The saved leaves are bound to those that ``take`` gives: what does not fit is told
            before anything changes. Else ``put`` gets new values, and has to look itself.
        told_by_leaves: The state of another class may fit.
        shapes_stay: Where leaves are not bound: arrays of one name are of one shape for good.
        stands_for: Gives the class whose state it is, where that is not the object's own.
        bind: Binds what was saved to an object, where the kind does that itself.
    """

    applies: Callable[[Any], bool]
    take: Callable[[Any], dict[Any, Any]]
    put: Callable[[Any, dict[Any, Any]], Any]
    prepare: Callable[[Any, Node], frozenset[Any]] | None = None
    leafwise: bool = True
    told_by_leaves: bool = False
    shapes_stay: bool = False
    stands_for: Callable[[Any], type] = type
    bind: Callable[[Any, Node, Any, str], Callable[[], Any]] | None = None


_kinds: list[ObjectKind] = []
_by_class: dict[type, ObjectKind | None] = {}


def register_kind(kind: ObjectKind) -> None:
    """Make a kind of object known; it goes before those that are known already."""
    _kinds.insert(0, kind)
    _by_class.clear()


def kind_of(value: object) -> ObjectKind | None:
    """Return the kind of an object, or None; one whose class has a codec has none."""
    cls = type(value)
    if codecs.codec_of(cls) is not None or isinstance(value, type):
        return None
    if cls not in _by_class:
        _by_class[cls] = next((kind for kind in _kinds if kind.applies(value)), None)
    return _by_class[cls]


def kind_count() -> int:
    """Return how many kinds are registered; it only grows."""
    return len(_kinds)
