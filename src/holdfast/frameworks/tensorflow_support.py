"""TensorFlow: variables and tensors as leaves, generators, iterators, and what tf.train tracks."""

from __future__ import annotations

import random
import sys
from collections.abc import Hashable
from typing import Any

import numpy as np
import tensorflow as tf

from holdfast.format import dtypes
from holdfast.frameworks import tensorflow_objects
from holdfast.state.arrays import ArraySpec, register_adapter
from holdfast.state.changes import mark, register_change_probe
from holdfast.state.codecs import python_random_state, python_random_tree, register_codec
from holdfast.state.environment import register_devices
from holdfast.state.kinds import ObjectKind, register_kind
from holdfast.state.numpy_arrays import as_bytes
from holdfast.state.refusals import refused
from holdfast.state.rng import RngSource, register_rng

# A training step changes all of a variable; more would be read after every step for nothing.
_SAMPLED_ELEMS = 1024


class TensorFlowAdapter:
    """Variables, which are filled in place, and eager tensors, which are replaced."""

    framework = "tensorflow"
    mutable = True

    def is_array(self, value: object) -> bool:
        return isinstance(value, tf.Tensor | tf.Variable)

    def describe(self, value: Any, path: str) -> tuple[ArraySpec, Hashable | None, int | None]:
        if what := _refusal(value):
            raise refused(path, what)
        name = value.dtype.name
        shape = tuple(value.shape)
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtypes.itemsize(name)
        spec = ArraySpec("tensorflow", name, shape, nbytes)
        return spec, ("tensorflow", id(value)) if nbytes else None, None

    def count_changes(self, value: Any) -> None:
        return None

    def export(self, value: Any, into: memoryview) -> None:
        seen = _host(value)
        if seen.nbytes:
            np.copyto(np.frombuffer(into, seen.dtype).reshape(seen.shape), seen)

    def is_writable(self, value: Any) -> bool:
        return isinstance(value, tf.Variable)

    def assign(self, value: Any, data: memoryview) -> None:
        dtype = value.dtype.as_numpy_dtype
        value.assign(tf.constant(np.frombuffer(data, dtype).reshape(tuple(value.shape))))

    def create(self, spec: ArraySpec, like: Any | None) -> tuple[Any, memoryview]:
        host = np.empty(spec.shape, tf.as_dtype(spec.dtype).as_numpy_dtype)
        return host, as_bytes(host)

    def finish(self, value: Any, like: Any | None) -> Any:
        with tf.device(like.device if like is not None else "CPU:0"):
            return tf.constant(value)


def _host(value: Any) -> np.ndarray[Any, Any]:
    tensor = value.read_value() if isinstance(value, tf.Variable) else value
    # Of a tensor in host memory this is a look, not a copy.
    return np.asarray(memoryview(tensor)) if _is_buffer(tensor) else np.asarray(tensor.numpy())


def _is_buffer(tensor: Any) -> bool:
    plain = tensor.dtype.name not in ("bfloat16",) and not tensor.dtype.name.startswith("float8")
    return plain and tensor.device.endswith("CPU:0")


def _changes_of(value: Any) -> object:
    """Return something that differs once a variable has changed: of a large one, some elements."""
    n_elems = int(np.prod(tuple(value.shape), dtype=np.int64))
    if n_elems <= _SAMPLED_ELEMS:
        return mark(_host(value))
    return mark(tf.reshape(value, [-1])[:: n_elems // _SAMPLED_ELEMS].numpy())


def _refusal(value: Any) -> str:
    if not isinstance(value, tf.Variable) and not hasattr(value, "numpy"):
        return "is a symbolic tensor of a function that is being traced. Save outside of it"
    if value.dtype == tf.string:
        return "is a tensor of strings, which has no fixed size. Save a list: t.numpy().tolist()"
    try:
        dtypes.itemsize(value.dtype.name)
        np.dtype(value.dtype.as_numpy_dtype)
    except (ValueError, TypeError):
        return f"has the dtype {value.dtype.name}, which the format does not know"
    if not value.shape.is_fully_defined():
        return "is a variable of no fixed shape. Save its value: v.read_value()"
    return ""


# --- generators ---


def _set_generator(generator: Any, tree: dict[str, Any]) -> None:
    generator.reset(tf.constant(tree["state"]))


def _generator_tree(generator: Any) -> dict[str, Any]:
    return {"algorithm": int(generator.algorithm), "state": generator.state.numpy()}


def _new_generator(tree: dict[str, Any]) -> Any:
    return tf.random.Generator.from_state(tf.constant(tree["state"]), alg=tree["algorithm"])


def _context() -> Any:
    from tensorflow.python.eager import context

    return context.context()


def _rng_state() -> dict[str, Any]:
    context = _context()
    seed, own = getattr(context, "_seed", None), getattr(context, "_rng", None)
    if seed is None or own is None:
        # No seed was set: what ops draw then nobody can repeat.
        return {}
    return {"seed": seed, "op_seeds": python_random_tree(own.getstate())}


def _set_rng_state(tree: dict[str, Any]) -> None:
    if not tree:
        return
    tf.random.set_seed(tree["seed"])
    context = _context()
    if not isinstance(getattr(context, "_rng", None), random.Random):
        context._rng = random.Random(tree["seed"])
    context._rng.setstate(python_random_state(tree["op_seeds"]))


def _devices() -> list[str]:
    return [f"{d.device_type}:{d.name}" for d in tf.config.list_physical_devices()]


register_adapter(TensorFlowAdapter())
register_codec(
    tf.random.Generator,
    _generator_tree,
    _new_generator,
    name="tensorflow:Generator",
    update=_set_generator,
    variant="algorithm",
)
register_change_probe(lambda value: isinstance(value, tf.Variable | tf.Tensor), _changes_of)
register_rng(
    RngSource("tensorflow", lambda: "tensorflow" in sys.modules, _rng_state, _set_rng_state)
)
register_devices("tensorflow", _devices)
register_kind(
    ObjectKind(
        tensorflow_objects.is_tracked,
        tensorflow_objects.take,
        tensorflow_objects.put,
        leafwise=False,
        told_by_leaves=True,
        shapes_stay=True,
    )
)
