"""Train states, modules and optimizer states of the JAX world come back as they were."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from absent import required

jax = required("jax")
optax = required("optax")
struct = required("flax.struct")

import holdfast  # noqa: E402
from holdfast import Checkpointer  # noqa: E402
from holdfast.errors import Mismatch  # noqa: E402

jnp = jax.numpy


def equal(one: Any, other: Any) -> bool:
    """Say whether two trees have the same structure and the same bits."""
    a, b = (jax.tree_util.tree_flatten_with_path(tree) for tree in (one, other))
    if a[1] != b[1]:
        return False
    return all(bits(x) == bits(y) for (_, x), (_, y) in zip(a[0], b[0], strict=True))


def bits(leaf: Any) -> object:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    if not isinstance(leaf, jax.Array | np.ndarray):
        return leaf
    return (str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes())


def back(folder: Path, saved: Any, into: Any) -> Any:
    holdfast.save(folder, {"x": saved}, run="r", step=0)
    state = {"x": into}
    holdfast.load(folder, "r@0", into=state)
    return state["x"]


PARAMS = {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2, "bfloat16")}}

TRANSFORMS = {
    "adam": lambda: optax.adam(1e-3),
    "chain": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)),
    "schedule": lambda: optax.sgd(optax.cosine_decay_schedule(0.1, 100), momentum=0.9),
    "steps": lambda: optax.MultiSteps(optax.adam(1e-3), 3),
    "masked": lambda: optax.masked(optax.adam(1e-3), {"dense": {"kernel": True, "bias": False}}),
    "parts": lambda: optax.multi_transform(
        {"a": optax.adam(1e-3), "b": optax.sgd(0.1, momentum=0.9)},
        {"dense": {"kernel": "a", "bias": "b"}},
    ),
    "ema": lambda: optax.chain(optax.lion(1e-3), optax.ema(0.9)),
    "finite": lambda: optax.apply_if_finite(optax.adafactor(1e-3), 3),
    "averaging": lambda: optax.contrib.schedule_free_adamw(1e-3),
}


def trained(name: str, n: int) -> Any:
    transform = TRANSFORMS[name]()
    params, state = PARAMS, transform.init(PARAMS)
    for i in range(n):
        gradients = jax.tree.map(lambda p, i=i: jnp.full_like(p, 0.1 * (i + 1)), params)
        updates, state = transform.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return state


@pytest.mark.parametrize("name", TRANSFORMS)
def test_optimizer_states_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    saved = trained(name, 4)
    assert equal(back(tmp_path, saved, trained(name, 0)), saved)
    # With nothing to load into, too: the classes are known by name.
    assert equal(holdfast.load(tmp_path, "r@0")["x"], saved)


def test_a_state_whose_dtype_changes_with_the_first_step(tmp_path: Path) -> None:
    transform = optax.inject_hyperparams(optax.adam)(learning_rate=1e-3)
    fresh = transform.init({"w": jnp.ones(2, "bfloat16")})
    gradients = {"w": jnp.ones(2, "float32")}
    _, saved = transform.update(gradients, fresh, gradients)
    assert equal(fresh, fresh) and not equal(saved, fresh)
    holdfast.save(tmp_path, {"x": saved}, run="r", step=0)
    state = {"x": fresh}
    with pytest.raises(Mismatch, match=r"saved as float32\[2\], wanted bfloat16\[2\]"):
        holdfast.load(tmp_path, "r@0", into=state)
    told = holdfast.load(tmp_path, "r@0", into=state, strict=False)
    assert equal(state["x"], saved) and len(told.differing) == 1


def train_state(seed: float) -> Any:
    from flax.training.train_state import TrainState

    return TrainState.create(
        apply_fn=lambda: None,
        params=jax.tree.map(lambda p: p + jnp.asarray(seed, p.dtype), PARAMS),
        tx=TRANSFORMS["chain"](),
    )


def test_a_train_state_goes_on(tmp_path: Path) -> None:
    saved = train_state(1)
    step = jax.jit(lambda s: s.apply_gradients(grads=s.params))
    for _ in range(3):
        saved = step(saved)
    assert isinstance(saved.step, jax.Array) and saved.step.weak_type
    fresh = train_state(0)
    found = back(tmp_path, saved, fresh)
    assert type(found) is type(saved) and found.tx is fresh.tx
    assert equal(found.replace(apply_fn=0, tx=0), saved.replace(apply_fn=0, tx=0))
    assert found.step.weak_type
    assert equal(step(found).params, step(saved).params)
    assert list(fresh.params["dense"]["kernel"].ravel()) == [1.0] * 6
    # Without one to load into, its leaves, by their names.
    tree = holdfast.load(tmp_path, "r@0")["x"]
    assert bits(tree["params"]["dense"]["kernel"]) == bits(saved.params["dense"]["kernel"])


def test_a_checkpointer_hands_back_a_new_train_state(tmp_path: Path) -> None:
    state = {"train": train_state(3), "key": jax.random.key(1)}
    with Checkpointer(tmp_path, state, run="r") as ckpt:
        state["key"], _ = jax.random.split(state["key"])
        ckpt.save(0).wait()
        saved = dict(state)
    state = {"train": train_state(0), "key": jax.random.key(5)}
    with Checkpointer(tmp_path, state, run="r") as ckpt:
        assert ckpt.restore() is not None
    assert equal(state["train"].params, saved["train"].params)
    assert bits(state["key"]) == bits(saved["key"])


def test_another_shape_is_told_and_nothing_changes(tmp_path: Path) -> None:
    holdfast.save(tmp_path, {"x": train_state(1)}, run="r", step=0)
    other = train_state(0)
    other = other.replace(params={"dense": {**other.params["dense"], "bias": jnp.zeros(5)}})
    state = {"x": other}
    with pytest.raises(Mismatch) as caught:
        holdfast.load(tmp_path, "r@0", into=state)
    assert "'x/params/dense/bias': saved as bfloat16[2], wanted float32[5]" in str(caught.value)
    assert state["x"] is other
    more = other.replace(params={"dense": train_state(0).params["dense"], "new": jnp.ones(1)})
    with pytest.raises(Mismatch, match="'x/params/new': wanted, but not in the checkpoint"):
        holdfast.load(tmp_path, "r@0", into={"x": more})


@struct.dataclass
class Plain:
    """All of its fields are children."""

    w: Any
    n: Any


@struct.dataclass
class Counting:
    """Has a number, a name and a function that JAX does not see."""

    w: Any
    epoch: int = struct.field(pytree_node=False, default=0)
    name: str = struct.field(pytree_node=False, default="")
    act: Any = struct.field(pytree_node=False, default=jnp.tanh)


@jax.tree_util.register_pytree_node_class
class Own:
    """Registered by hand."""

    def __init__(self, a: Any, b: Any, label: str) -> None:
        self.a, self.b, self.label = a, b, label

    def tree_flatten(self) -> tuple[Any, Any]:
        return (self.a, self.b), self.label

    @classmethod
    def tree_unflatten(cls, label: Any, children: Any) -> Own:
        return cls(*children, label)


def test_classes_registered_with_jax(tmp_path: Path) -> None:
    plain = Plain(jnp.ones(2), [jnp.zeros(1), 3])
    assert equal(back(tmp_path, plain, Plain(jnp.zeros(2), [jnp.ones(1), 0])), plain)
    assert type(holdfast.load(tmp_path, "r@0")["x"]) is Plain

    counting = back(tmp_path, Counting(jnp.ones(2), 7, "saved"), Counting(jnp.zeros(2), 0, "here"))
    assert (counting.epoch, counting.name, counting.act) == (7, "saved", jnp.tanh)
    assert bits(counting.w) == bits(jnp.ones(2))


def test_what_jax_does_not_see_comes_back_however_deep_it_lies(tmp_path: Path) -> None:
    def nested(n: int, name: str) -> Counting:
        return Counting({"in": [Counting(jnp.full(2, n), n, name), None]}, n + 1, f"outer {name}")

    found = back(tmp_path, nested(3, "saved"), nested(0, "here"))
    inner = found.w["in"][0]
    assert (found.epoch, found.name, inner.epoch, inner.name) == (4, "outer saved", 3, "saved")
    assert bits(inner.w) == bits(jnp.full(2, 3))


def test_nodes_that_were_registered_by_hand(tmp_path: Path) -> None:

    own = back(tmp_path, Own(jnp.ones(2), {"c": 2}, "l"), Own(jnp.zeros(2), {"c": 0}, "l"))
    assert equal(own, Own(jnp.ones(2), {"c": 2}, "l")) and own.label == "l"


def test_frozen_dicts_and_a_dict_are_the_same_to_a_restore(tmp_path: Path) -> None:
    frozen = required("flax.core").freeze(PARAMS)
    zeros = jax.tree.map(jnp.zeros_like, frozen)
    assert equal(back(tmp_path, frozen, zeros), frozen)
    assert equal(back(tmp_path / "b", PARAMS, zeros), frozen)
    assert equal(back(tmp_path / "c", frozen, zeros.unfreeze()), PARAMS)


def test_equinox_modules_keep_their_functions(tmp_path: Path) -> None:
    eqx = required("equinox")

    class Net(eqx.Module):  # type: ignore[misc, name-defined]
        layers: list[Any]
        dropout: Any
        bias: Any
        scale: float = eqx.field(static=True)

        def __init__(self, seed: int) -> None:
            a, b = jax.random.split(jax.random.key(seed))
            self.layers = [eqx.nn.Linear(3, 4, key=a), jax.nn.relu, eqx.nn.MLP(4, 2, 8, 2, key=b)]
            self.dropout = eqx.nn.Dropout(0.1 * seed)
            self.bias = jnp.full(2, seed)
            self.scale = 2.0

    saved, fresh = Net(1), Net(2)
    found = back(tmp_path, saved, fresh)
    assert eqx.tree_equal(found, saved)
    assert found.layers[1] is jax.nn.relu and found.dropout.p == 0.1
    x = jnp.ones(3)
    assert bits(found.layers[2](found.layers[0](x))) == bits(saved.layers[2](saved.layers[0](x)))
    assert not eqx.tree_equal(fresh, saved)
    with pytest.raises(Mismatch):
        back(tmp_path / "b", saved, eqx.tree_at(lambda n: n.bias, fresh, jnp.zeros(3)))
    batch_norm = eqx.nn.make_with_state(eqx.nn.BatchNorm)
    net, running = batch_norm(4, axis_name="batch", mode="ema")
    assert equal(back(tmp_path / "d", running, running), running)
    assert equal(back(tmp_path / "e", net, net), net)


def nnx_parts(seed: int) -> tuple[Any, Any]:
    from flax import nnx

    class Net(nnx.Module):  # type: ignore[misc]
        def __init__(self, rngs: Any) -> None:
            self.blocks = nnx.List([nnx.Linear(3, 3, rngs=rngs) for _ in range(2)])
            self.norm = nnx.BatchNorm(3, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            for block in self.blocks:
                x = self.drop(self.norm(block(x)))
            return x

    model = Net(nnx.Rngs(seed))
    return model, nnx.Optimizer(model, optax.adamw(1e-2), wrt=nnx.Param)


def nnx_step(model: Any, optimizer: Any) -> Any:
    from flax import nnx

    loss, gradients = nnx.value_and_grad(lambda m: (m(jnp.ones((4, 3))) ** 2).sum())(model)
    optimizer.update(model, gradients)
    return loss


def test_nnx_modules_and_optimizers_are_restored_in_place(tmp_path: Path) -> None:
    from flax import nnx

    model, optimizer = nnx_parts(0)
    for _ in range(3):
        nnx_step(model, optimizer)
    saved = {"model": model, "optimizer": optimizer, "metric": nnx.metrics.Average()}
    saved["metric"].update(values=jnp.asarray([1.0, 3.0]))
    holdfast.save(tmp_path, saved, run="r", step=0)
    other, its = nnx_parts(9)
    state = {"model": other, "optimizer": its, "metric": nnx.metrics.Average()}
    holdfast.load(tmp_path, "r@0", into=state)
    assert state["model"] is other and float(state["metric"].compute()) == 2.0
    for _ in range(3):  # dropout, batch statistics and moments go on alike
        assert bits(nnx_step(other, its)) == bits(nnx_step(model, optimizer))
    assert equal(nnx.state(other), nnx.state(model))


def test_nnx_states_without_their_modules(tmp_path: Path) -> None:
    from flax import nnx

    model, _ = nnx_parts(0)
    other, _ = nnx_parts(5)
    wanted = nnx.state(model)
    found = back(tmp_path, wanted, nnx.state(other))
    assert type(found) is type(wanted) and equal(found, wanted)
    nnx.update(other, found)
    assert equal(nnx.state(other), wanted)


def test_a_part_of_a_train_state(tmp_path: Path) -> None:
    holdfast.save(tmp_path, {"x": train_state(1)}, run="r", step=0)
    state = {"x": train_state(0)}
    holdfast.load(tmp_path, "r@0", into=state, only="x/params/**")
    assert equal(state["x"].params, train_state(1).params)
    holdfast.save(tmp_path, {"x": train_state(2)}, run="r", step=1, only="x/params/dense/*")
    tree = holdfast.load(tmp_path, "r@1")
    assert set(tree["x"]) == {"params"}


def test_what_cannot_be_saved_is_named(tmp_path: Path) -> None:
    with pytest.raises(holdfast.errors.UnsupportedLeaf, match="'x/w/f'"):
        holdfast.save(
            tmp_path, {"x": dataclasses.replace(Plain(1, 2), w={"f": object()})}, run="r", step=0
        )
