"""A saved part of an object's state laid over the whole of what it has now.

``load_state_dict`` wants all of a state. Where a filter left some of it out, at save or at load,
the rest stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.format.tree import CONTAINERS, KEYED, NodeKind
from holdfast.state.nodes import Node
from holdfast.state.reads import Thunk


def is_partial(node: Node) -> bool:
    """Say whether a filter left out something below a node."""
    return node.kind == NodeKind.OMITTED or any(is_partial(child) for child in node.children)


def overlay(node: Node, live: Any, fresh: Callable[[Node], Thunk]) -> Thunk:
    """Return a function that gives the live value with what was saved put over it.

    Args:
        node: What was saved, with OMITTED nodes where something was left out.
        live: What the object has now; it is not changed.
        fresh: Gives a function that makes a new value of a node.
    """
    if node.kind == NodeKind.OMITTED:
        return lambda: live
    if node.kind not in CONTAINERS or not isinstance(live, dict | list | tuple):
        return fresh(node)
    if node.kind in KEYED and isinstance(live, dict):
        over = {c.key: overlay(c, live.get(c.key), fresh) for c in node.children}
        return lambda: {**live, **{key: thunk() for key, thunk in over.items()}}
    if not isinstance(live, dict) and len(node.children) == len(live):
        thunks = [overlay(c, v, fresh) for c, v in zip(node.children, live, strict=True)]
        make = type(live) if type(live) in (list, tuple) else tuple
        return lambda: make(thunk() for thunk in thunks)
    return fresh(node)
