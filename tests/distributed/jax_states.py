"""States of JAX that lie over the devices of several processes, compared to the last bit.

Every layout holds the same values for the same seed, whatever the number of devices. Next to
nothing is computed on devices, whose every program would have to be compiled.
"""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

# So many devices each, for so many processes: 4, 4, 6, 4, 8 in all.
DEVICES = {1: 4, 2: 2, 3: 2, 4: 1, 8: 1}
LAYOUTS: dict[str, dict[str, Any]] = {
    "1d": {"w": P("x"), "v": P(None, "x"), "b": P(), "half": P("x"), "keys": P("x")},
    "2d": {"w": P("x", "y"), "v": P("y"), "b": P("x"), "half": P(("y", "x")), "keys": P()},
}
SHAPES = {"w": (24, 16), "v": (16, 24), "b": (24,), "half": (24, 5)}


def begin() -> None:
    """Join the other processes, as the variables that torch's launchers set say."""
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", DEVICES[world_size])
    if world_size > 1:
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        jax.distributed.initialize(address, world_size, rank)


def mesh_of(layout: str) -> Mesh:
    """Return the mesh of a layout over all devices."""
    devices = np.array(jax.devices())
    if layout == "1d":
        return Mesh(devices, ("x",))
    return Mesh(devices.reshape(-1, 2), ("x", "y"))


def values(seed: int) -> dict[str, Any]:
    """Return a state as arrays of NumPy: parameters, moments of an optimizer, keys, and others."""
    source = np.random.default_rng(seed)

    def drawn(like: Any) -> np.ndarray[Any, Any]:
        if like.dtype.kind == "i":
            return np.full(like.shape, seed, like.dtype)
        return source.standard_normal(like.shape, np.float32).astype(like.dtype)

    like = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    like["half"] = like["half"].astype(jnp.bfloat16)
    return {
        "params": {name: drawn(array) for name, array in like.items()},
        "moments": jax.tree.map(drawn, jax.eval_shape(optax.adamw(1e-2).init, like)),
        "keys": source.integers(0, 2**32, (24, 2), np.uint32),
        "scale": np.float32(seed + 0.5),
        "count": np.int32(seed),
        "host": np.arange(4) + seed,
        "step": seed,
    }


def placed(layout: str, seed: int) -> dict[str, Any]:
    """Return a state that lies over all devices."""
    mesh, specs, state = mesh_of(layout), LAYOUTS[layout], values(seed)

    def put(path: Any, value: Any) -> jax.Array:
        spec = specs.get(getattr(path[-1], "key", ""), P()) if path else P()
        sharding = NamedSharding(mesh, spec)
        return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

    keys = put((jax.tree_util.DictKey("keys"),), state["keys"])
    return {
        "params": jax.tree_util.tree_map_with_path(put, state["params"]),
        "moments": jax.tree_util.tree_map_with_path(put, state["moments"]),
        "keys": jax.random.wrap_key_data(keys),
        "scale": jax.jit(lambda: float(state["scale"]), out_shardings=NamedSharding(mesh, P()))(),
        "count": jnp.asarray(state["count"]),
        "host": state["host"],
        "step": state["step"],
    }


def check(state: dict[str, Any], seed: int) -> None:
    """Compare what is here of a state with its values, bit for bit."""
    expected = values(seed)
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    found = jax.tree_util.tree_flatten_with_path(state)[0]
    for (path, leaf), value in zip(found, jax.tree.leaves(expected), strict=True):
        name = jax.tree_util.keystr(path)
        if not isinstance(leaf, jax.Array):
            assert np.array_equal(leaf, value), name
            continue
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        assert (leaf.dtype, leaf.shape) == (value.dtype, value.shape), name
        # A number of Python that met no array yet, whose type gives way to what it meets.
        assert getattr(leaf, "weak_type", False) == (name == "['scale']"), name
        shards = leaf.addressable_shards
        assert shards, name
        for shard in shards:
            assert np.asarray(shard.data).tobytes() == value[shard.index].tobytes(), name


def lies(state: dict[str, Any]) -> list[Any]:
    """Return how the arrays of a state lie, and whether they are bound to lie there."""
    return [
        (leaf.sharding, leaf.committed)
        for leaf in jax.tree.leaves(state)
        if isinstance(leaf, jax.Array)
    ]
