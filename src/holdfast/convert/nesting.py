"""A selection as nested containers, for formats that keep the tree and plain values."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from holdfast.convert.naming import renamed
from holdfast.convert.selection import LONG_TEXTS, Selection, value_of
from holdfast.errors import CannotConvert
from holdfast.format.tree import KEYED, WRAPPERS, NodeKind
from holdfast.state.nodes import Node, prune

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


@dataclass(frozen=True, slots=True)
class ArrayAt:
    """An array in a nested value: its row in the checkpoint's manifest, and its path there."""

    row: int
    path: str


@dataclass(slots=True)
class Nested:
    """What is selected, as dicts, lists, tuples, plain values and ``ArrayAt``.

    Attributes:
        value: The value.
        notes: What became another kind of value, for users.
    """

    value: object = None
    notes: list[str] = field(default_factory=list)


def nest(selection: Selection) -> Nested:
    """Return what is selected with its containers, keys renamed.

    Rules for names are for the keys of what is no mapping. Elements of lists that are not selected
    are None, so that the others keep their places.

    Raises:
        CannotConvert: Two keys of a mapping would be one.
    """
    found = Nested()
    root = prune(selection.root, selection.chosen)
    found.value = _Nesting(selection, found.notes).value(root)
    return found


class _Nesting:
    def __init__(self, selection: Selection, notes: list[str]) -> None:
        self._selection, self._notes = selection, notes

    def value(self, node: Node) -> object:
        if node.kind in (NodeKind.ARRAY, NodeKind.ALIAS):
            if self._selection.part.arrays[node.row].framework in LONG_TEXTS:
                return self._selection.text_of(node.row)
            return ArrayAt(node.row, node.path)
        if node.kind in WRAPPERS:
            return self.value(node.children[0])
        if node.kind in KEYED:
            return self._mapping(node)
        if node.kind in (NodeKind.LIST, NodeKind.TUPLE):
            items = [self.value(child) for child in node.children]
            return items if node.kind == NodeKind.LIST else tuple(items)
        return None if node.kind == NodeKind.OMITTED else self._plain(node)

    def _mapping(self, node: Node) -> object:
        made: dict[object, object] = OrderedDict() if node.kind == NodeKind.ORDERED_DICT else {}
        for child in node.children:
            if child.kind == NodeKind.OMITTED:
                continue
            key = child.key
            if isinstance(key, str) and not _is_mapping(child):
                key = renamed(key, self._selection.rename)
            if key in made:
                raise CannotConvert(
                    f"Two entries of {node.path or 'the root'!r} of {self._selection.ref} would "
                    f"both be called {key!r}. Nothing was written. Change the --rename rules.",
                    name=key,
                )
            made[key] = self.value(child)
        if node.kind == NodeKind.NAMED_TUPLE:
            self._note(node, node.type_name.rpartition(":")[2], "tuple")
            return tuple(made.values())
        if node.kind == NodeKind.DATACLASS:
            self._note(node, node.type_name.rpartition(":")[2], "dict")
        return made

    def _plain(self, node: Node) -> object:
        value = value_of(node)
        if isinstance(value, _PLAIN) and not isinstance(value, np.generic):
            if node.kind == NodeKind.ENUM:
                self._note(node, node.type_name.rpartition(":")[2], "the name of its member")
            return value
        became = _nearest(value)
        self._note(node, type(value).__name__, type(became).__name__)
        return became

    def _note(self, node: Node, what: str, became: str) -> None:
        self._notes.append(f"{node.path or 'the root'}: {what} became {became}")


def _is_mapping(node: Node) -> bool:
    while node.kind in WRAPPERS:
        node = node.children[0]
    return node.kind in KEYED


def _nearest(value: object) -> object:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, np.generic):
        found = value.item()
        return found if isinstance(found, _PLAIN) else str(value)
    return str(value)
