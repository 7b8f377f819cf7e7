"""Classes that JAX knows as nodes of its trees: train states, Equinox modules, NNX states.

JAX's own division holds. What it counts as leaves is the state, by the paths that it gives them;
what a class keeps besides (functions, axis names, sizes) is code, and stays what it is in the
object that is restored into. Numbers among it, a count of epochs perhaps, are saved as well.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any

import jax

from holdfast.state import rebuild
from holdfast.state.paths import put_at
from holdfast.state.stateful import accessors

STATIC = "@static"
_OTHERS_CARE = (dict, OrderedDict, list, tuple, type(None))


def is_tree(value: Any) -> bool:
    """Say whether a value is of a class that was registered with JAX as a node of trees."""
    if type(value) in _OTHERS_CARE or isinstance(value, jax.Array) or accessors(value) is not None:
        return False
    # JAX warns of iterators, which it takes for leaves.
    if hasattr(value, "__next__") or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return False
    if not dataclasses.is_dataclass(value):
        return not jax.tree_util.treedef_is_leaf(jax.tree.structure(value))
    # One whose fields all are children comes back as it was, as every dataclass.
    children = _children(value)
    names = {f.name for f in dataclasses.fields(value)}
    return children is not None and (children.keys() != names or _may_hold_code(type(value)))


def take(value: Any) -> dict[Any, Any]:
    """Return the leaves of a node by their paths, as nested dicts."""
    tree: dict[Any, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(value)[0]:
        if not _is_code(leaf):
            put_at(tree, [_name(entry) for entry in path], leaf)
    if static := _static_numbers(value):
        tree[STATIC] = static
    return tree


def put(value: Any, tree: dict[Any, Any]) -> Any:
    """Return a node like value with other leaves; value itself where they are the same."""
    found, structure = jax.tree_util.tree_flatten_with_path(value)
    leaves = [leaf if _is_code(leaf) else _at(tree, path) for path, leaf in found]
    if any(new is not old for new, (_, old) in zip(leaves, found, strict=True)):
        value = jax.tree.unflatten(structure, leaves)
    static = tree.get(STATIC, {})
    if static != _static_numbers(value):
        value = rebuild.replaced(value, static)
    return value


def _at(tree: dict[Any, Any], path: tuple[Any, ...]) -> Any:
    for key in map(_name, path):
        tree = tree[key]
    return tree


def _name(entry: Any) -> Any:
    for attribute in ("name", "idx", "key"):
        if hasattr(entry, attribute):
            return getattr(entry, attribute)
    return str(entry)


def _is_code(leaf: object) -> bool:
    return callable(leaf) and not isinstance(leaf, jax.Array)


def _children(value: Any) -> dict[Any, Any] | None:
    """Return the children of a node by name, or None where value is a leaf to JAX."""
    found = jax.tree_util.tree_flatten_with_path(value, is_leaf=lambda child: child is not value)[0]
    if len(found) == 1 and not found[0][0]:
        return None
    return {_name(path[0]): child for path, child in found}


def _may_hold_code(cls: type) -> bool:
    # Equinox has layers and functions side by side in lists.
    return any(base.__module__.partition(".")[0] == "equinox" for base in cls.__mro__)


def _static_numbers(value: Any) -> dict[str, int | float]:
    if not dataclasses.is_dataclass(value):
        return {}
    children = _children(value) or {}
    names = [f.name for f in dataclasses.fields(value) if f.name not in children]
    found: dict[str, Any] = {name: getattr(value, name, None) for name in names}
    return {name: number for name, number in found.items() if type(number) in (int, float)}
