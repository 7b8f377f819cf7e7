"""Flax NNX: modules, optimizers, metrics and streams of keys, restored in place."""

from __future__ import annotations

import sys
from typing import Any

from holdfast.state.kinds import ObjectKind, register_kind


def _is_object(value: Any) -> bool:
    # Whoever only uses Linen has not loaded it.
    nnx = sys.modules.get("flax.nnx")
    if nnx is None or isinstance(value, nnx.Variable):
        return False
    classes = tuple(getattr(nnx, name) for name in ("Pytree", "Object") if hasattr(nnx, name))
    return isinstance(value, classes)


def _take(value: Any) -> dict[Any, Any]:
    from flax import nnx

    tree: dict[Any, Any] = nnx.to_pure_dict(nnx.state(value))
    return tree


def _put(value: Any, tree: dict[Any, Any]) -> Any:
    from flax import nnx

    state = nnx.state(value)
    nnx.replace_by_pure_dict(state, tree)
    nnx.update(value, state)
    return value


register_kind(ObjectKind(_is_object, _take, _put))
