"""What the entries of a state are for: told from what they are, and else from their names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from holdfast.format.tree import NodeKind
from holdfast.state.nodes import Node
from holdfast.state.selection import Entry, Role
from holdfast.state.stateful import accessors

_OPTIMIZER_KEYS = frozenset({"state", "param_groups"})
_OPTIMIZER_NAME = re.compile(r"optim|(^|_)(opt|adamw?|sgd)(_|$)")
_OTHER_NAME = re.compile(
    r"sched|loader|sampler|scaler|(^|_)(data|dataset|iterator|rng|logs?|history|metrics?)(_|$)"
)
_OPTIMIZER_MODULES = ("torch.optim.", "keras.src.optimizers.", "keras.optimizers.")
_OTHER_MODULES = (
    "torch.optim.lr_scheduler:",
    "torch.optim.swa_utils:SWALR",
    "torch.amp.",
    "torch.cuda.amp.",
    "torch.utils.data.",
    "torchdata.",
    "holdfast.data.",
    "keras.src.optimizers.schedules.",
)


def entries_of(state: object) -> list[Entry]:
    """Return the entries of a state whose root is a dict; none of any other."""
    if not isinstance(state, Mapping):
        return []
    return [Entry(str(name), _role(str(name), value), value) for name, value in state.items()]


def entries_of_tree(root: Node) -> list[Entry]:
    """Return the entries of a state that was saved."""
    return [Entry(str(child.key), _role_of_node(child)) for child in root.children]


def _role(name: str, value: object) -> Role:
    if name.startswith("@"):
        return Role.OTHER
    told = _by_type(f"{type(value).__module__}:{type(value).__qualname__}")
    if told is not None:
        return told
    if hasattr(value, "param_groups"):
        return Role.OPTIMIZER
    if isinstance(value, Mapping) and set(value) >= _OPTIMIZER_KEYS:
        return Role.OPTIMIZER
    if hasattr(value, "named_parameters") or hasattr(value, "trainable_weights"):
        return Role.MODEL
    if accessors(value) is not None:
        # A loader, a schedule, a scaler: what it is not is a model.
        return _by_name(name, Role.OTHER)
    return _by_name(name, Role.MODEL if _has_elements(value) else Role.OTHER)


def _has_elements(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_has_elements(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_has_elements(item) for item in value)
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _role_of_node(node: Node) -> Role:
    name = str(node.key)
    if name.startswith("@"):
        return Role.OTHER
    inner = node.children[0] if node.kind is NodeKind.STATEFUL else node
    if {child.key for child in inner.children} >= _OPTIMIZER_KEYS:
        return Role.OPTIMIZER
    told = _by_type(node.type_name) if node.kind is NodeKind.STATEFUL else None
    if told is not None:
        return told
    has_arrays = any(leaf.kind in (NodeKind.ARRAY, NodeKind.ALIAS) for leaf in node.leaves())
    return _by_name(name, Role.MODEL if has_arrays else Role.OTHER)


def _by_type(kind: str) -> Role | None:
    """Return what objects of a type, ``module:qualname``, are for; None where that is not known."""
    if kind.startswith(_OTHER_MODULES):
        return Role.OTHER
    return Role.OPTIMIZER if kind.startswith(_OPTIMIZER_MODULES) else None


def _by_name(name: str, otherwise: Role) -> Role:
    lower = name.lower()
    if _OPTIMIZER_NAME.search(lower):
        return Role.OPTIMIZER
    return Role.OTHER if _OTHER_NAME.search(lower) else otherwise
