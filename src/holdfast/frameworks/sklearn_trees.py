"""Decision trees of scikit-learn: their columns as arrays, and trees of them again.

Whoever predicts follows a tree by its numbers and trusts them, in C code. So these are looked at
before a tree is made: nobody's file leads out of memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.tree._tree import NODE_DTYPE, Tree

from holdfast.errors import DataError, Mismatch

TREE = "@tree"
_LEAF = -1


def is_tree(value: object) -> bool:
    """Say whether a value is the structure of a decision tree."""
    return type(value) is Tree


def encode(tree: Any) -> dict[str, Any]:
    """Return a tree as arrays: one for each thing that its nodes know, and their values."""
    _, (n_features, n_classes, n_outputs), state = tree.__reduce__()
    nodes = state["nodes"]
    return {
        TREE: {name: np.ascontiguousarray(nodes[name]) for name in nodes.dtype.names},
        "values": state["values"],
        "max_depth": int(state["max_depth"]),
        "n_features": int(n_features),
        "n_classes": np.asarray(n_classes),
        "n_outputs": int(n_outputs),
    }


def decode(saved: dict[str, Any]) -> Any:
    """Return the tree of ``encode``.

    Raises:
        Mismatch: It was saved by a scikit-learn whose trees know other things.
        DataError: Its numbers make no tree.
    """
    columns = saved[TREE]
    if list(columns) != list(NODE_DTYPE.names):
        raise Mismatch(
            f"a tree whose nodes know {', '.join(columns)}; those of this scikit-learn know "
            f"{', '.join(NODE_DTYPE.names)}"
        )
    try:
        nodes = np.zeros(len(columns[NODE_DTYPE.names[0]]), NODE_DTYPE)
        for name, column in columns.items():
            nodes[name] = column
        n_classes = np.array(saved["n_classes"], np.intp)
        _require_tree(nodes, n_classes, saved)
        made = Tree(saved["n_features"], n_classes, saved["n_outputs"])
        made.__setstate__(
            {
                "max_depth": saved["max_depth"],
                "node_count": len(nodes),
                "nodes": nodes,
                "values": np.array(saved["values"], np.float64, order="C"),
            }
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"A decision tree is none: {error}. It was not restored; all else in the store is as "
            "it was."
        ) from error
    return made


def _require_tree(nodes: Any, n_classes: Any, saved: dict[str, Any]) -> None:
    """Refuse with ValueError what would lead whoever follows it out of its arrays."""
    left, right = nodes["left_child"], nodes["right_child"]
    inner = left != _LEAF
    if not np.array_equal(inner, right != _LEAF):
        raise ValueError("some node has one child")
    children = np.concatenate([left[inner], right[inner]])
    if not np.array_equal(np.sort(children), np.arange(1, len(nodes))):
        raise ValueError("its nodes have not each one parent")
    parents = np.flatnonzero(inner)
    if (children <= np.concatenate([parents, parents])).any():
        raise ValueError("some node stands before its parent")
    if _depth(left, right) > saved["max_depth"]:
        raise ValueError("it is deeper than it says")
    feature = nodes["feature"][inner]
    if ((feature < 0) | (feature >= saved["n_features"])).any():
        raise ValueError("some node asks for a feature that there is not")
    if len(n_classes) != saved["n_outputs"] or (n_classes < 1).any():
        raise ValueError("it has not as many classes as outputs")


def _depth(left: Any, right: Any) -> int:
    depth, level = 0, np.zeros(min(len(left), 1), np.intp)
    while len(level := level[left[level] != _LEAF]):
        depth, level = depth + 1, np.concatenate([left[level], right[level]])
    return depth
