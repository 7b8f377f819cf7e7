"""JAX: arrays of any sharding as leaves, typed keys, and the trees that libraries build of them."""

from __future__ import annotations

import importlib
import sys
import weakref
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from holdfast.errors import UnsupportedLeaf
from holdfast.format.boxes import Box
from holdfast.frameworks import jax_shards, jax_trees
from holdfast.state.arrays import ArraySpec, register_adapter
from holdfast.state.changes import register_change_probe
from holdfast.state.codecs import register_codec
from holdfast.state.environment import register_devices
from holdfast.state.kinds import ObjectKind, register_kind
from holdfast.state.numpy_arrays import as_bytes
from holdfast.state.refusals import refused

# A number that was written in Python and met no array yet gives way to what it meets: its type
# counts for less. A weak array made strong would change the dtypes of what is computed with it.
WEAK = "jax-weak"

_NAMES = frozenset(
    {
        "bool",
        *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
        *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
    }
)
_WIDE = frozenset({"int64", "uint64", "float64", "complex128"})


def _key_class() -> type:
    # No public name leads to it that does not start a backend.
    for name in ("jax._src.random.prng", "jax._src.prng"):
        try:
            found: type = importlib.import_module(name).PRNGKeyArray
            return found
        except (ImportError, AttributeError):
            continue
    return type(jax.random.key(0))


KEYS = _key_class()


@dataclass(slots=True)
class _Making:
    """An array being made: its values in host memory, and whether its type is weak."""

    host: np.ndarray[Any, Any]
    weak: bool


class JaxAdapter:
    """Arrays of JAX, on one device or many, of this process or of several.

    A ``jax.ShapeDtypeStruct`` may stand where one is wanted, with or without a sharding.
    """

    mutable = False

    def __init__(self, framework: str) -> None:
        self.framework = framework

    def is_array(self, value: object) -> bool:
        return isinstance(value, jax.Array | jax.ShapeDtypeStruct) and not isinstance(value, KEYS)

    def describe(self, value: Any, path: str) -> tuple[ArraySpec, Hashable | None, int | None]:
        if what := _refusal(value):
            raise refused(path, what)
        dtype = np.dtype(value.dtype)
        shape = tuple(value.shape)
        framework = WEAK if getattr(value, "weak_type", False) else "jax"
        spec = ArraySpec(framework, dtype.name, shape, _nbytes(value))
        if not spec.nbytes or isinstance(value, jax.ShapeDtypeStruct):
            return spec, None, None
        return spec, ("jax", id(value)), _host_address(value)

    def count_changes(self, value: Any) -> None:
        return None

    def export(self, value: Any, into: memoryview) -> None:
        if isinstance(value, jax.ShapeDtypeStruct):
            raise UnsupportedLeaf(
                "A jax.ShapeDtypeStruct says what an array looks like and holds none: there is "
                "nothing to save. It can stand in a state only to be restored into."
            )
        if not value.nbytes:
            return
        target = np.frombuffer(into, np.dtype(value.dtype)).reshape(value.shape)
        for shard in value.addressable_shards:
            # Replicas hold the same; one of them is enough.
            if shard.replica_id == 0:
                target[shard.index] = np.asarray(shard.data)

    def is_writable(self, value: Any) -> bool:
        return False

    def assign(self, value: Any, data: memoryview) -> None:
        raise AssertionError("immutable")

    def create(self, spec: ArraySpec, like: Any | None) -> tuple[Any, memoryview]:
        # Its values are looked at by JAX, perhaps for as long as the array lives: a buffer of its
        # own, which nobody writes to again.
        host = np.empty(spec.shape, jax.numpy.dtype(spec.dtype))
        return _Making(host, spec.framework == WEAK), as_bytes(host)

    def finish(self, value: Any, like: Any | None) -> Any:
        with _as_wide_as(value.host.dtype.name):
            # One that is not bound to its device may go where others lie: a count that an optimizer
            # of a sharded model has begun with.
            is_bound = getattr(like, "committed", True)
            made = jax.device_put(value.host, getattr(like, "sharding", None) if is_bound else None)
            return _weak(made) if value.weak else made

    def assemble(self, target: Any, pieces: Sequence[tuple[Box, Any]]) -> Any:
        with _as_wide_as(np.dtype(target.dtype).name):
            made = jax_shards.assembled(target, {box: value.host for box, value in pieces})
            return _weak(made) if any(value.weak for _, value in pieces) else made


def _as_wide_as(dtype: str) -> AbstractContextManager[Any]:
    """Return a context in which 64 bits stay 64: device_put would make 32 of them, unsaid."""
    if dtype in _WIDE and not jax.config.jax_enable_x64:
        wide: AbstractContextManager[Any] = jax.enable_x64(True)
        return wide
    return nullcontext()


def _weak(made: Any) -> Any:
    from jax._src.lax.lax import _convert_element_type

    return _convert_element_type(made, made.dtype, weak_type=True)


def _nbytes(value: Any) -> int:
    size = 1
    for length in value.shape:
        size *= length
    return size * int(np.dtype(value.dtype).itemsize)


def _host_address(value: Any) -> int | None:
    """Return where an array's bytes lie, if it is whole in host memory; waits until it is there."""
    if not value.is_fully_addressable or len(value.sharding.device_set) != 1:
        return None
    if next(iter(value.devices())).platform != "cpu":
        return None
    seen = np.asarray(value)
    address: int = seen.__array_interface__["data"][0]
    # What NumPy sees is the array's own memory, and lives as long as it does; or it is a copy.
    same = seen.flags.c_contiguous and address == value.unsafe_buffer_pointer()
    return address if same else None


def _refusal(value: Any) -> str:
    if isinstance(value, jax.core.Tracer):
        return "is a tracer: it is inside of a function that JAX is compiling. Save outside of it"
    if np.dtype(value.dtype).name not in _NAMES:
        wider = "float32" if "float" in str(value.dtype) else "int8"
        return (
            f"has the dtype {value.dtype}, which the format does not know. Save it as {wider}, "
            f"which holds every value of it: x.astype('{wider}')"
        )
    if isinstance(value, jax.ShapeDtypeStruct):
        return ""
    if value.is_deleted():
        return (
            "is an array whose memory has been given away (donated). Put what the step returned "
            "into the state before you save"
        )
    return ""


class _Same:
    """Equal to another as long as both are of one object that still lives.

    Arrays do not change; one that is another object is another value. It is not kept alive for
    the comparison: that would keep the memory of every step.
    """

    def __init__(self, value: object) -> None:
        self._of = weakref.ref(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._of() is not None and self._of() is other._of()

    __hash__ = object.__hash__


def _key_tree(key: Any) -> dict[str, object]:
    return {"impl": str(jax.random.key_impl(key)), "data": jax.random.key_data(key)}


def _new_key(tree: dict[str, Any]) -> Any:
    return jax.random.wrap_key_data(tree["data"], impl=tree["impl"])


def _devices() -> list[str]:
    # Asking for devices would start every backend, which a script may not want yet.
    bridge = sys.modules.get("jax._src.xla_bridge")
    started = getattr(bridge, "backends_are_initialized", lambda: False)
    return [f"{d.platform}:{d.device_kind}" for d in jax.local_devices()] if started() else []


register_adapter(JaxAdapter("jax"))
register_adapter(JaxAdapter(WEAK))
register_codec(KEYS, _key_tree, _new_key, name="jax:PRNGKey", variant="impl", alike=True)
register_devices("jax", _devices)
register_change_probe(lambda value: isinstance(value, jax.Array), _Same)
register_kind(ObjectKind(jax_trees.is_tree, jax_trees.take, jax_trees.put))
