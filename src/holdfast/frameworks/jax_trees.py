"""Classes that JAX knows as nodes of its trees: train states, Equinox modules, NNX states.

JAX's own division holds. What it counts as leaves is the state, by the paths that it gives them;
what a class keeps besides is code where it is a function, and stays what it is in the object that
is restored into. What is plain among it, a count of epochs or the name of a phase, is saved too.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Container
from typing import Any

import jax
import numpy as np

from holdfast.state import rebuild
from holdfast.state.paths import put_at
from holdfast.state.stateful import accessors

STATIC = "@static"
_PLAIN = (int, float, bool, str)
# Leaves by far the most often; of what is none of these JAX is asked.
_LEAVES = (jax.Array, np.ndarray, np.generic, *_PLAIN)
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
    if static := _static(value):
        tree[STATIC] = static
    return tree


def put(value: Any, tree: dict[Any, Any]) -> Any:
    """Return a node like value with other leaves; value itself where they are the same."""
    found, structure = jax.tree_util.tree_flatten_with_path(value)
    leaves = [leaf if _is_code(leaf) else _at(tree, path) for path, leaf in found]
    if any(new is not old for new, (_, old) in zip(leaves, found, strict=True)):
        value = jax.tree.unflatten(structure, leaves)
    static = tree.get(STATIC, {})
    return value if static == _static(value) else _with_static(value, static)


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
    found = _divided(value)[0]
    if len(found) == 1 and not found[0][0]:
        return None
    return {_name(path[0]): child for path, child in found}


def _divided(value: Any) -> tuple[list[tuple[Any, Any]], Any]:
    """Return the children of a node with their paths, and how it is made of them."""
    found, structure = jax.tree_util.tree_flatten_with_path(
        value, is_leaf=lambda child: child is not value
    )
    return found, structure


def _may_hold_code(cls: type) -> bool:
    # Equinox has layers and functions side by side in lists.
    return any(base.__module__.partition(".")[0] == "equinox" for base in cls.__mro__)


def _static(value: Any) -> dict[Any, Any]:
    """Return what is plain among what dataclasses keep from JAX: by name, below their paths."""
    children = _children(value)
    if children is None:
        return {}
    found: dict[Any, Any] = {
        name: kept
        for name, child in children.items()
        if not isinstance(child, _LEAVES) and (kept := _static(child))
    }
    for name in _kept(value, children):
        own = getattr(value, name, None)
        if _is_plain(own):
            found[name] = own
    return found


def _with_static(value: Any, static: dict[Any, Any]) -> Any:
    """Return a node like value whose dataclasses keep something else."""
    found, structure = _divided(value)
    names = [_name(path[0]) if path else None for path, _ in found]
    parts = [
        _with_static(child, static[name]) if isinstance(static.get(name), dict) else child
        for name, (_, child) in zip(names, found, strict=True)
    ]
    value = jax.tree.unflatten(structure, parts)
    own = {name: static[name] for name in _kept(value, names) if name in static}
    return rebuild.replaced(value, own) if own else value


def _kept(value: Any, children: Container[Any]) -> list[str]:
    """Return the names of the fields of a dataclass that are no children."""
    if not dataclasses.is_dataclass(value):
        return []
    return [f.name for f in dataclasses.fields(value) if f.name not in children]


def _is_plain(value: object) -> bool:
    if type(value) is tuple:
        return all(map(_is_plain, value))
    return type(value) in _PLAIN
