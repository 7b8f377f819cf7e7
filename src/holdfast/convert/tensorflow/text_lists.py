"""Lists of byte strings, which are tensors of texts to TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.convert.containers import LIST, Contained
from holdfast.convert.naming import names_around


@dataclass(frozen=True, slots=True)
class TextList:
    """A list, or lists in lists, of byte strings and of nothing else, all of one length.

    Attributes:
        name: Of the outermost list.
        shape: As a tensor.
        texts: In C order.
        leaves: The names of the texts.
    """

    name: str
    shape: tuple[int, ...]
    texts: Sequence[bytes]
    leaves: Sequence[str]


def text_lists(found: Contained) -> list[TextList]:
    """Return the lists of leaves that can be tensors of texts."""
    lists = {name for name, mark in found.marks.items() if mark == LIST and name}
    others = {array.name for array in found.arrays}
    others |= {value.name for value in found.values if not isinstance(value.value, bytes)}
    # A list with anything else below it is none, nor is any list around it.
    for name in others:
        lists -= set(names_around(name))
    members: dict[str, dict[str, Any]] = {name: {} for name in lists}
    outermost = [name for name in lists if not lists & set(names_around(name))]
    texts = {v.name: v.value for v in found.values if isinstance(v.value, bytes)}
    for name in [*lists, *texts]:
        above, _, key = name.rpartition("/")
        if above in members:
            members[above][key] = texts.get(name, name)
    made = []
    for name in sorted(outermost):
        shape = _shape(name, members)
        if shape is not None:
            leaves = list(_leaves(name, members))
            made.append(TextList(name, shape, [texts[leaf] for leaf in leaves], leaves))
    return made


def _places(name: str, members: dict[str, dict[str, Any]]) -> list[str] | None:
    found = members[name]
    places = [str(place) for place in range(len(found))]
    return places if found.keys() == set(places) else None


def _shape(name: str, members: dict[str, dict[str, Any]]) -> tuple[int, ...] | None:
    """Return the shape of the tensor that a list is; None where it is none."""
    places = _places(name, members)
    if places is None:
        return None
    below = [f"{name}/{place}" for place in places]
    if not any(child in members for child in below):
        return (len(below),)
    shapes = {_shape(child, members) if child in members else None for child in below}
    inner = shapes.pop()
    return None if shapes or inner is None else (len(below), *inner)


def _leaves(name: str, members: dict[str, dict[str, Any]]) -> Iterator[str]:
    for place in _places(name, members) or ():
        child = f"{name}/{place}"
        if child in members:
            yield from _leaves(child, members)
        else:
            yield child
