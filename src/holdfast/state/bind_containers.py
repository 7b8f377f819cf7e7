"""Saved containers meet those that stand: dicts, dataclasses, lists and tuples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast.state import rebuild
from holdfast.state.nodes import Node
from holdfast.state.paths import join
from holdfast.state.reads import Thunk

if TYPE_CHECKING:
    from holdfast.state.bind import Binder


def mapping_into(binder: Binder, node: Node, target: dict[Any, Any], path: str) -> Thunk:
    """Bind what has keys to a dict; an empty one takes all of it."""
    if not target:
        make = binder.fresh(node)

        def adopt() -> Any:
            target.update(make())
            return target

        return adopt
    slots = _slots(binder, node, target, path)

    def put() -> Any:
        for key, thunk in slots.items():
            value = thunk()
            if value is not target[key]:
                target[key] = value
        _put_in_order(target, slots)
        return target

    return put


def _put_in_order(target: dict[Any, Any], keys: Mapping[Any, object]) -> None:
    """Give a dict the order that it had, which loops and samplers go by."""
    if len(keys) == len(target) and list(keys) != list(target):
        for key in keys:
            target[key] = target.pop(key)


def fields_into(binder: Binder, node: Node, target: Any, path: str) -> Thunk:
    """Bind what has keys to the fields of a dataclass; of a frozen one a new one is made."""
    live = {f.name: getattr(target, f.name) for f in dataclasses.fields(target)}
    slots = _slots(binder, node, live, path)

    def put() -> Any:
        values = {key: thunk() for key, thunk in slots.items()}
        changed = {k: v for k, v in values.items() if v is not getattr(target, k)}
        if type(target).__dataclass_params__.frozen and changed:
            return rebuild.replaced(target, changed)
        for key, value in changed.items():
            setattr(target, key, value)
        return target

    return put


def _slots(binder: Binder, node: Node, live: Mapping[Any, Any], path: str) -> dict[Any, Thunk]:
    """Bind the children of a node to the values of their keys; note what has no counterpart."""
    slots = {}
    saved = {child.key: child for child in node.children}
    for key, child in saved.items():
        if key in live:
            slots[key] = binder.into(child, live[key], join(path, key))
        else:
            binder.note_unexpected(child)
    for key, value in live.items():
        if key not in saved:
            binder.note_missing(value, join(path, key))
    return slots


def sequence_into(binder: Binder, node: Node, target: Any, path: str) -> Thunk:
    """Bind a sequence to a list or tuple, element by element."""
    if isinstance(target, list) and not target:
        return _contents(binder, node, target)
    if len(node.children) != len(target):
        if not isinstance(target, list) or _has_arrays(node):
            return binder.problem(
                path, f"saved with {len(node.children)} elements, wanted {len(target)}"
            )
        return _contents(binder, node, target)
    thunks = [
        binder.into(child, value, join(path, i))
        for i, (child, value) in enumerate(zip(node.children, target, strict=True))
    ]

    def put() -> Any:
        values = [thunk() for thunk in thunks]
        if all(new is old for new, old in zip(values, target, strict=True)):
            return target
        if isinstance(target, list):
            target[:] = values
            return target
        return rebuild.like_tuple(target, values)

    return put


def _contents(binder: Binder, node: Node, target: list[Any]) -> Thunk:
    """Return a function that gives a list new elements in the place of all that it has."""
    make = binder.fresh(node)

    def put() -> Any:
        target[:] = make()
        return target

    return put


def _has_arrays(node: Node) -> bool:
    return any(leaf.row >= 0 for leaf in node.leaves())
