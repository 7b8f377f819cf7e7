"""Arrays and keys of JAX as leaves: saved whole, restored to the last bit, placed where wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from absent import required

jax = required("jax")

import holdfast  # noqa: E402
from holdfast import Checkpointer  # noqa: E402
from holdfast.errors import Mismatch, UnsupportedLeaf  # noqa: E402

jnp = jax.numpy

DTYPES = [
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "bfloat16"),
    *("float32", "complex64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e8m0fnu"),
]


def bits(array: Any) -> bytes:
    return np.asarray(array).tobytes()


def round_trip(folder: Path, tree: dict[str, Any]) -> Any:
    holdfast.save(folder, tree, run="r", step=0)
    return holdfast.load(folder, "r@0")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_shape_comes_back(tmp_path: Path, dtype: str) -> None:
    shapes = [(), (0,), (3,), (2, 3, 5), (1, 70_000)]
    rng = np.random.default_rng(0)
    made = {str(s): jnp.asarray(rng.normal(size=s) * 3).astype(dtype) for s in shapes}
    tree = round_trip(tmp_path, made)
    for name, array in made.items():
        found = tree[name]
        assert isinstance(found, jax.Array)
        assert (found.dtype, found.shape, bits(found)) == (array.dtype, array.shape, bits(array))


def test_64_bits_stay_64_bits_where_they_are_not_the_default(tmp_path: Path) -> None:
    with jax.enable_x64(True):
        made = {"f": jnp.asarray([1 / 3], "float64"), "i": jnp.asarray([2**60 + 1], "int64")}
    tree = round_trip(tmp_path, made)
    assert tree["f"].dtype == "float64" and tree["i"].dtype == "int64"
    assert bits(tree["f"]) == bits(made["f"]) and bits(tree["i"]) == bits(made["i"])


def test_a_weak_type_stays_weak(tmp_path: Path) -> None:
    weak, strong = jax.jit(lambda: jnp.sin(1.0))(), jnp.asarray(1.0, "float32")
    assert weak.weak_type and not strong.weak_type
    tree = round_trip(tmp_path, {"weak": weak, "strong": strong})
    assert tree["weak"].weak_type and not tree["strong"].weak_type
    half = jnp.ones(2, "bfloat16")
    assert (half * tree["weak"]).dtype == "bfloat16" and (half * tree["strong"]).dtype == "float32"
    # Into what is not: what was saved counts.
    into = {"weak": jnp.asarray(0.0, "float32"), "strong": jax.jit(lambda: jnp.sin(2.0))()}
    holdfast.load(tmp_path, "r@0", into=into)
    assert into["weak"].weak_type and not into["strong"].weak_type


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_typed_keys_go_on_where_they_were(tmp_path: Path, impl: str) -> None:
    key = jax.random.split(jax.random.key(3, impl=impl), (2, 3))
    tree = round_trip(tmp_path, {"key": key, "raw": jax.random.PRNGKey(7)})
    assert tree["key"].dtype == key.dtype and tree["key"].shape == (2, 3)
    draw = jax.vmap(jax.random.normal)
    assert bits(draw(tree["key"][0])) == bits(draw(key[0]))
    into = {"key": jax.random.split(jax.random.key(0, impl=impl), (2, 3))}
    holdfast.load(tmp_path, "r@0", into=into)
    assert bits(jax.random.key_data(into["key"])) == bits(jax.random.key_data(key))


@pytest.mark.parametrize(
    "wanted",
    [
        lambda: jax.random.key(0, impl="rbg"),
        lambda: jax.random.split(jax.random.key(0), 2),
        lambda: jax.random.PRNGKey(0),
    ],
    ids=["another generator", "another shape", "no typed key"],
)
def test_another_key_is_told(tmp_path: Path, wanted: Any) -> None:
    holdfast.save(tmp_path, {"key": jax.random.key(3)}, run="r", step=0)
    into = {"key": wanted()}
    before = into["key"]
    with pytest.raises(Mismatch, match="'key"):
        holdfast.load(tmp_path, "r@0", into=into)
    assert into["key"] is before


def test_values_take_the_place_of_those_that_stand(tmp_path: Path) -> None:
    tree = {"params": {"w": jnp.arange(6.0).reshape(2, 3)}, "pair": (jnp.ones(2), 3)}
    holdfast.save(tmp_path, tree, run="r", step=0)
    old = jnp.zeros((2, 3))
    into: dict[str, Any] = {"params": {"w": old}, "pair": (jnp.zeros(2), 0)}
    holds = into["params"]
    holdfast.load(tmp_path, "r@0", into=into)
    assert into["params"] is holds and bits(holds["w"]) == bits(tree["params"]["w"])
    assert bits(old) == bytes(24)
    assert bits(into["pair"][0]) == bits(tree["pair"][0]) and into["pair"][1] == 3


def test_a_counter_may_be_a_number_at_first_and_an_array_later(tmp_path: Path) -> None:
    holdfast.save(tmp_path, {"step": 0, "later": jnp.asarray(7)}, run="r", step=0)
    into: dict[str, Any] = {"step": jnp.asarray(5), "later": 0}
    holdfast.load(tmp_path, "r@0", into=into)
    assert into["step"] == 0 and int(into["later"]) == 7 and isinstance(into["later"], jax.Array)
    for wrong in ({"later": jnp.zeros(2)}, {"step": jnp.zeros(1, int)}, {"later": "seven"}):
        with pytest.raises(Mismatch):
            holdfast.load(tmp_path, "r@0", into=wrong)


def test_other_frameworks_arrays_can_take_it(tmp_path: Path) -> None:
    torch = required("torch")
    w = jnp.arange(6.0).reshape(2, 3)
    holdfast.save(tmp_path, {"w": w, "n": np.full((2, 3), 2, "f4")}, run="r", step=0)
    into = {"w": torch.zeros(2, 3), "n": jnp.zeros((2, 3))}
    holdfast.load(tmp_path, "r@0", into=into)
    assert into["w"].numpy().tobytes() == bits(w) and float(into["n"].sum()) == 12
    assert isinstance(into["n"], jax.Array)


def test_what_cannot_be_saved_is_refused_with_its_place(tmp_path: Path) -> None:
    gone = jnp.ones(3)
    gone.delete()
    for value, word in (
        (gone, "donated"),
        (jnp.ones(3, "int4"), r"astype\('int8'\)"),
        (jnp.ones(3, "float8_e3m4"), r"astype\('float32'\)"),
        (jax.ShapeDtypeStruct((3,), "float32"), "ShapeDtypeStruct"),
    ):
        with pytest.raises(UnsupportedLeaf, match=word):
            holdfast.save(tmp_path, {"a": {"b": value}}, run="r", step=0)

    @jax.jit
    def inside(x: Any) -> Any:
        holdfast.save(tmp_path, {"a": x}, run="r", step=0)
        return x

    with pytest.raises(UnsupportedLeaf, match="'a' is a tracer"):
        inside(jnp.ones(2))
    assert holdfast.save(tmp_path, {"a": jnp.ones(2)}, run="r", step=0).step == 0


def test_a_snapshot_is_of_its_moment_though_memory_is_donated_at_once(tmp_path: Path) -> None:
    step = jax.jit(lambda w: w * 2 + 1, donate_argnums=0)
    state = {"w": jnp.ones(200_000)}
    wanted = []
    with Checkpointer(tmp_path, state, run="r") as ckpt:
        for i in range(5):
            state["w"] = step(state["w"])
            wanted.append(bits(state["w"]))
            ckpt.save(i)
    for i, expected in enumerate(wanted):
        assert bits(holdfast.load(tmp_path, f"r@{i}")["w"]) == expected


def test_an_exception_saves_the_last_whole_step_and_none_that_is_half_done(tmp_path: Path) -> None:
    for run, half in (("whole", False), ("half", True)):
        state = {"w": jnp.zeros(3), "v": jnp.zeros(3)}
        with (
            pytest.raises(RuntimeError),
            Checkpointer(tmp_path, state, run=run, save=holdfast.on.exception()) as ckpt,
        ):
            state["w"], state["v"] = state["w"] + 1, state["v"] + 2
            ckpt.step(0)
            if half:
                state["w"] = state["w"] + 1
            raise RuntimeError
    assert bits(holdfast.load(tmp_path, "whole@0")["v"]) == bits(jnp.full(3, 2.0))
    with pytest.raises(holdfast.errors.NotFound):
        holdfast.load(tmp_path, "half@latest")


MESHES = """
import sys
import jax, numpy as np
import holdfast
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

store, jnp = sys.argv[1], jax.numpy
assert jax.device_count() == 8
devices = np.array(jax.devices())
wide = Mesh(devices.reshape(4, 2), ("data", "model"))
tall = Mesh(devices[:6].reshape(2, 3), ("a", "b"))
x = np.arange(48 * 12, dtype="f4").reshape(48, 12)
def put(mesh, *spec): return jax.device_put(x, NamedSharding(mesh, P(*spec)))
saved = {
    "both": put(wide, "data", "model"), "rows": put(wide, ("data", "model")),
    "copies": put(wide), "half": put(wide, None, "model"), "one": jax.device_put(x, devices[5]),
    "key": jax.device_put(jax.random.split(jax.random.key(1), 8), NamedSharding(wide, P("data"))),
}
holdfast.save(store, saved, run="r", step=0)
fresh = holdfast.load(store, "r@0")
assert all(np.array_equal(fresh[k], x) for k in saved if k != "key")
zero = jnp.zeros_like(x)
def like(*spec): return jax.device_put(zero, NamedSharding(tall, P(*spec)))
into = {
    "both": like("b", "a"), "rows": like("a"), "copies": like(), "half": jnp.zeros_like(x),
    "one": jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(tall, P(None, "b"))),
    "key": jax.device_put(jax.random.split(jax.random.key(9), 8), NamedSharding(tall, P("a"))),
}
wanted = {k: v.sharding for k, v in into.items()}
holdfast.load(store, "r@0", into=into)
for k, v in into.items():
    assert v.sharding.is_equivalent_to(wanted[k], v.ndim), (k, v.sharding)
    if k != "key":
        assert np.array_equal(v, x), k
        assert all(np.array_equal(s.data, x[s.index]) for s in v.addressable_shards), k
data = [np.asarray(jax.random.key_data(t["key"])) for t in (into, saved)]
assert np.array_equal(*data)
print("good")
"""


def test_sharded_arrays_restore_to_another_mesh(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", MESHES, str(tmp_path)], env=env, capture_output=True, text=True
    )
    assert done.stdout.strip() == "good", done.stderr[-2000:]
