"""Objects that know their own state: ``state_dict``/``load_state_dict`` and pairs like it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_PAIRS = (("state_dict", "load_state_dict"), ("get_state_tree", "set_state_tree"))

Getter = Callable[[], object]
Setter = Callable[[Any], object]


def accessors(value: object) -> tuple[Getter, Setter] | None:
    """Return how to get and to set value's state, or None where it has no such pair.

    Classes are no objects with state, even where their instances are.
    """
    if isinstance(value, type):
        return None
    for getter, setter in _PAIRS:
        get, put = getattr(value, getter, None), getattr(value, setter, None)
        if callable(get) and callable(put):
            return get, put
    return None


_objections: list[Callable[[Any], str]] = []


def register_objection(why: Callable[[Any], str]) -> None:
    """Let a framework say why the state of an object is not what it seems: no words, if it is."""
    _objections.append(why)


def objection_to(value: object) -> str:
    """Return why the state of an object must not be taken, nor given; no words where it may."""
    return next((what for why in _objections if (what := why(value))), "")
