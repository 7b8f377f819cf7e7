"""Keras 3 on any backend: models, layers, optimizers, metrics, generators, variables.

The values are those of the backend (tensors, arrays, variables of TensorFlow), so that a checkpoint
of one backend can be restored to another.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from holdfast.errors import Mismatch
from holdfast.format.tree import NodeKind
from holdfast.frameworks.keras_names import (
    flat,
    layer_names,
    nested,
    slot_names,
    variable_names,
)
from holdfast.state.kinds import ObjectKind, register_kind
from holdfast.state.nodes import Node
from holdfast.state.rng import RngSource, register_rng

OPTIMIZER = "@optimizer"


def _tree(names: Sequence[str], variables: Sequence[Any]) -> dict[str, Any]:
    return nested(zip(names, [variable.value for variable in variables], strict=True))


def _assign(names: Sequence[str], variables: Sequence[Any], tree: dict[str, Any]) -> None:
    places = flat(nested(zip(names, variables, strict=True)))
    own = flat(nested(zip(names, [v.value for v in variables], strict=True)))
    for variable, old, new in zip(places, own, flat(tree), strict=True):
        if new is not old:
            variable.assign(new)


# --- layers and models ---


def _layer_variables(layer: Any) -> tuple[list[str], list[Any]]:
    variables = list(layer.variables)
    names = layer_names(list(layer._flatten_layers()), layer)
    return variable_names(variables, names), variables


def _optimizer_of(layer: Any) -> Any:
    found = getattr(layer, "optimizer", None) if isinstance(layer, keras.Model) else None
    return found if isinstance(found, keras.optimizers.Optimizer) else None


def _take_layer(layer: Any) -> dict[Any, Any]:
    # On JAX, fit keeps the values to itself until it is asked.
    getattr(layer, "jax_state_sync", lambda: None)()
    tree = _tree(*_layer_variables(layer))
    optimizer = _optimizer_of(layer)
    if optimizer is not None:
        tree[OPTIMIZER] = _take_optimizer(optimizer)
    return tree


def _put_layer(layer: Any, tree: dict[Any, Any]) -> Any:
    weights = {name: value for name, value in tree.items() if name != OPTIMIZER}
    _assign(*_layer_variables(layer), weights)
    if OPTIMIZER in tree:
        _put_optimizer(_optimizer_of(layer), tree[OPTIMIZER])
    return layer


def _prepare_layer(layer: Any, node: Node) -> frozenset[Any]:
    saved = {child.key: child for child in node.children}
    if not layer.built and not layer.variables and saved.keys() - {OPTIMIZER}:
        raise Mismatch(
            f"{node.path!r}: the {type(layer).__name__} has no weights yet, so none can be "
            "restored. Nothing was changed. Give it an Input, call build(input_shape), or call it "
            "on a batch first.",
            problems=(f"{node.path!r}: not built",),
        )
    optimizer = _optimizer_of(layer)
    if optimizer is None:
        # What is to predict needs none.
        return frozenset({OPTIMIZER})
    if OPTIMIZER in saved:
        _build(optimizer, layer.trainable_variables, saved[OPTIMIZER])
    return frozenset()


# --- optimizers ---


def _optimizer_variables(optimizer: Any) -> tuple[list[str], list[Any]]:
    variables = list(optimizer.variables)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return slot_names(variables, getattr(inner, "_trainable_variables", [])), variables


def _take_optimizer(optimizer: Any) -> dict[Any, Any]:
    return _tree(*_optimizer_variables(optimizer))


def _put_optimizer(optimizer: Any, tree: dict[Any, Any]) -> Any:
    _assign(*_optimizer_variables(optimizer), tree)
    return optimizer


def _build(optimizer: Any, trained: Sequence[Any], node: Node) -> None:
    """Make the slots that would come with the first step, where such were saved."""
    has_slots = any(c.key == "slots" and c.kind != NodeKind.OMITTED for c in node.children)
    if has_slots and not optimizer.built:
        optimizer.build(trained)


def _prepare_optimizer(optimizer: Any, node: Node) -> frozenset[Any]:
    if any(child.key == "slots" for child in node.children) and not optimizer.built:
        raise Mismatch(
            f"{node.path!r}: the {type(optimizer).__name__} has no slots yet, so none can be "
            "restored. Nothing was changed. Call optimizer.build(model.trainable_variables) first, "
            "or hand over the compiled model: its optimizer goes with it.",
            problems=(f"{node.path!r}: not built",),
        )
    return frozenset()


# --- what has variables, and no more ---


def _own_variables(value: Any) -> tuple[list[str], list[Any]]:
    if isinstance(value, keras.Variable):
        return ["value"], [value]
    if isinstance(value, keras.random.SeedGenerator):
        return ["state"], [value.state]
    variables = list(value.variables)
    return [variable.path.rpartition("/")[2] for variable in variables], variables


def _put_own(value: Any, tree: dict[Any, Any]) -> Any:
    _assign(*_own_variables(value), tree)
    return value


# --- other callbacks: the patience of early stopping, the best value so far ---


def _callback_values(callback: Any) -> dict[Any, Any]:
    plain = (bool, int, float, str, type(None))
    settings = _settings_of(type(callback))
    return {
        name: value
        for name, value in vars(callback).items()
        if name not in settings
        and (
            isinstance(value, (*plain, np.ndarray, np.generic))
            or (isinstance(value, list) and all(isinstance(v, (*plain, np.ndarray)) for v in value))
        )
    }


def _put_callback(callback: Any, tree: dict[Any, Any]) -> Any:
    settings = _settings_of(type(callback))
    vars(callback).update({name: v for name, v in tree.items() if name not in settings})
    return callback


def _settings_of(cls: type) -> frozenset[str]:
    """Return what constructors of Keras' own callbacks are given: patience, min_delta, …

    The script says it. Of ``min_delta`` Keras changes the sign when an epoch has ended, in each
    process anew: a restored one would be changed twice.
    """
    own = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == "keras"]
    made = [vars(base)["__init__"] for base in own if "__init__" in vars(base)]
    return frozenset(name for init in made for name in inspect.signature(init).parameters)


# --- the generator that layers and functions without one of their own draw from ---


def _global_generator() -> Any:
    state = sys.modules.get("keras.src.backend.common.global_state")
    get = getattr(state, "get_global_attribute", None)
    return get("global_seed_generator") if get is not None else None


def _rng_state() -> dict[str, Any]:
    generator = _global_generator()
    if generator is None:
        return {}
    return {"state": np.array(keras.ops.convert_to_numpy(generator.state.value))}


def _set_rng_state(tree: dict[str, Any]) -> None:
    if tree:
        from keras.src.random.seed_generator import global_seed_generator

        global_seed_generator().state.assign(tree["state"])


_small = (keras.Variable, keras.random.SeedGenerator, keras.metrics.Metric)
register_kind(
    ObjectKind(lambda v: isinstance(v, _small), lambda v: _tree(*_own_variables(v)), _put_own)
)
register_kind(
    ObjectKind(
        lambda v: isinstance(v, keras.optimizers.Optimizer),
        _take_optimizer,
        _put_optimizer,
        _prepare_optimizer,
    )
)
register_kind(
    ObjectKind(
        lambda v: isinstance(v, keras.Layer),
        _take_layer,
        _put_layer,
        _prepare_layer,
        told_by_leaves=True,
    )
)
register_kind(
    ObjectKind(
        lambda v: isinstance(v, keras.callbacks.Callback),
        _callback_values,
        _put_callback,
        leafwise=False,
    )
)
register_rng(RngSource("keras", lambda: "keras" in sys.modules, _rng_state, _set_rng_state))
