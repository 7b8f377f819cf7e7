"""Containers of a selection, for formats that know mappings and nothing else.

Such a format gets names joined by slashes. What a mapping cannot tell, that it was a list, a tuple,
or had numbers for keys, is a mark beside the name of the container; ``rebuilt`` reads the marks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.convert.selection import (
    NamedArray,
    NamedValue,
    Selection,
    named_children,
    named_leaves,
)
from holdfast.format.tree import KEYED, WRAPPERS, NodeKind
from holdfast.state.nodes import Node

LIST, TUPLE, NUMBERED, EMPTY = "list", "tuple", "numbered", "dict"
MARKS = frozenset({LIST, TUPLE, NUMBERED, EMPTY})


@dataclass(frozen=True, slots=True)
class Contained:
    """Leaves with the marks of what holds them.

    Attributes:
        arrays: In tree order.
        values: In tree order, without empty containers.
        marks: Of containers, by their names; the empty name is the root.
    """

    arrays: Sequence[NamedArray]
    values: Sequence[NamedValue]
    marks: Mapping[str, str]


def contained(selection: Selection) -> Contained:
    """Return the leaves of a selection, and marks for the containers that need one.

    A container below which a name was changed gets no mark: its keys are not its places any more.
    Nor does a list of which a part was left out.
    """
    walk = _Walk(selection)
    walk.visit(selection.root, "")
    return Contained(selection.arrays, walk.values, walk.marks)


def in_order(selection: Selection) -> Iterator[NamedArray | NamedValue]:
    """Yield arrays and plain values in the order of the tree."""
    arrays, values = iter(selection.arrays), iter(selection.values)
    for node, _ in named_leaves(selection.root):
        if selection.chosen(node.path):
            yield next(arrays) if node.row >= 0 else next(values)


class _Walk:
    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._arrays: Iterator[NamedArray] = iter(selection.arrays)
        self._values: Iterator[NamedValue] = iter(selection.values)
        self.values: list[NamedValue] = []
        self.marks: dict[str, str] = {}

    def visit(self, node: Node, name: str) -> bool:
        """Go through what is below a node; say whether all of it is there under its own name."""
        if not node.children:
            return self._leaf(node, name)
        whole = True
        for child, below in named_children(node, name):
            whole = self.visit(child, below) and whole
        if whole and node.kind not in WRAPPERS and (mark := _mark(node)):
            self.marks[name] = mark
        return whole

    def _leaf(self, node: Node, name: str) -> bool:
        if node.kind == NodeKind.OMITTED or not self._selection.chosen(node.path):
            return False
        if node.row >= 0:
            return next(self._arrays).name == name
        value = next(self._values)
        if node.kind in KEYED or node.kind in (NodeKind.LIST, NodeKind.TUPLE):
            self.marks[value.name] = _mark(node) or EMPTY
        else:
            self.values.append(value)
        return value.name == name


def _mark(node: Node) -> str | None:
    if node.kind == NodeKind.LIST:
        return LIST
    if node.kind == NodeKind.TUPLE:
        return TUPLE
    numbered = node.children and all(type(child.key) is int for child in node.children)
    return NUMBERED if numbered else None


def rebuilt(mapping: dict[str, Any], mark: str | None) -> Any:
    """Return the container that a mapping with a mark stands for.

    A mark that its keys contradict is not believed: the mapping stays one.

    >>> rebuilt({"0": "a", "1": "b"}, LIST), rebuilt({"0": "a", "x": "b"}, LIST)
    (['a', 'b'], {'0': 'a', 'x': 'b'})
    """
    if mark == NUMBERED:
        numbers = {_number(key): value for key, value in mapping.items()}
        return mapping if None in numbers else numbers
    if mark in (LIST, TUPLE):
        places = [str(i) for i in range(len(mapping))]
        if mapping.keys() != set(places):
            return mapping
        items = [mapping[place] for place in places]
        return items if mark == LIST else tuple(items)
    return mapping


def _number(key: str) -> int | None:
    try:
        return int(key) if str(int(key)) == key else None
    except ValueError:
        return None


def keys_as_texts(node: Node, *, also_alone: bool = False) -> Iterator[str]:
    """Yield a note for each dict whose keys that are numbers become texts.

    Args:
        node: Below which to look.
        also_alone: Whether they do where all keys of a dict are numbers; else only beside texts.
    """
    numbers = sum(isinstance(child.key, int) for child in node.children)
    if numbers and (also_alone or any(isinstance(child.key, str) for child in node.children)):
        yield f"{node.path or 'the root'}: {numbers} keys that are numbers became texts"
    for child in node.children:
        yield from keys_as_texts(child, also_alone=also_alone)
