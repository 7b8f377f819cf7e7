"""``cast=``: arrays saved in fewer bits where that is asked for by name, and back as they were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import holdfast
from distributed.threads import ranks_of, together
from holdfast import Checkpointer, Store, errors
from holdfast.format import casting

FLOATS = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}
PAIRS = [(was, dtype) for was, narrower in casting.NARROWER.items() for dtype in narrower]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "ckpts"


def numbers(dtype: Any) -> np.ndarray[Any, Any]:
    """Return floats of every size, halfway cases and what is not finite among them."""
    rng = np.random.default_rng(0)
    spread = rng.standard_normal(5000) * np.exp2(rng.integers(-30, 16, 5000))
    halfway = 1 + np.arange(64) / 512
    special = [0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-40, 65_504.0, -3e-8]
    return np.concatenate([spread, halfway, special]).astype(dtype)


@pytest.mark.parametrize(("was", "dtype"), PAIRS)
def test_values_are_rounded_as_others_round_them(store: Path, was: str, dtype: str) -> None:
    array = numbers(FLOATS[was])
    if dtype == "float16":
        array[np.isfinite(array) & (abs(array) > 65_504)] = 1
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32) if dtype == "bfloat16" else array
        wanted = narrow.astype(FLOATS[dtype]).astype(FLOATS[was])
    state = {"numpy": array, "torch": torch.from_numpy(array.copy())}
    holdfast.save(store, state, run="r", step=0, cast={"**": dtype})
    found = holdfast.load(store, "r@0")
    assert found["numpy"].dtype == array.dtype
    np.testing.assert_array_equal(found["numpy"], wanted)
    np.testing.assert_array_equal(
        np.signbit(found["numpy"][~np.isnan(wanted)]), np.signbit(wanted[~np.isnan(wanted)])
    )
    assert found["torch"].dtype == state["torch"].dtype
    np.testing.assert_array_equal(found["torch"].numpy(), wanted)


def test_a_training_goes_on_from_moments_in_half_the_bytes(store: Path) -> None:
    model = torch.nn.Linear(200, 300)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(1001):
        model(torch.ones(1, 200)).sum().backward()
        optimizer.step()
        if len(optimizer.state) and optimizer.state[model.bias]["step"] > 3:
            break
    optimizer.state[model.bias]["step"].fill_(1001.0)
    kept = [p.detach().clone() for p in model.parameters()]
    cast = {"optimizer/**": "bfloat16"}
    state = {"model": model, "optimizer": optimizer}
    with Checkpointer(store, state, run="r", cast=cast) as ckpt:
        ckpt.save(5).wait()
    moments = {
        path: leaf for leaf in Store(store).leaves("r@5") if "exp_avg" in (path := leaf.path)
    }
    assert len(moments) == 4
    assert {(leaf.dtype, leaf.cast_from) for leaf in moments.values()} == {("bfloat16", "float32")}
    wanted = {
        (i, name): value.to(torch.bfloat16).float()
        for i, p in enumerate(model.parameters())
        for name, value in optimizer.state[p].items()
        if name != "step"
    }

    other = torch.nn.Linear(200, 300)
    stepped = torch.optim.AdamW(other.parameters())
    with Checkpointer(store, {"model": other, "optimizer": stepped}, run="r", cast=cast) as ckpt:
        assert ckpt.restore() is not None
    for i, parameter in enumerate(other.parameters()):
        assert torch.equal(parameter, kept[i]), "the model was not named"
        found = stepped.state[parameter]
        # A counter of steps is no array that can lose digits.
        assert i == 0 or found["step"].item() == 1001
        for name in ("exp_avg", "exp_avg_sq"):
            assert found[name].dtype == torch.float32
            assert torch.equal(found[name], wanted[i, name])


def test_what_stands_is_filled_in_place_whatever_its_layout(store: Path) -> None:
    array = np.linspace(-3, 3, 4000).astype(np.float32).reshape(50, 80)
    holdfast.save(
        store,
        {"a": array, "b": array + 1, "t": torch.from_numpy(array * 2)},
        run="r",
        step=0,
        cast={"**": "float16"},
    )
    into: dict[str, Any] = {
        "a": np.empty_like(array),
        "b": np.asfortranarray(np.empty_like(array)),
        "t": torch.empty(80, 50).t(),
    }
    before = {name: id(value) for name, value in into.items()}
    holdfast.load(store, "r@0", into=into)
    assert {name: id(value) for name, value in into.items()} == before
    for name, wanted in (("a", array), ("b", array + 1), ("t", array * 2)):
        np.testing.assert_array_equal(into[name], wanted.astype(np.float16).astype(np.float32))
    with pytest.raises(errors.Mismatch, match="saved as float32"):
        holdfast.load(store, "r@0", into={"a": np.zeros((50, 80), np.float16)})
    half = {"a": np.zeros((50, 80), np.float16)}
    holdfast.load(store, "r@0", into=half, convert=True)
    np.testing.assert_array_equal(half["a"], array.astype(np.float16))


def test_what_a_type_cannot_hold_is_refused_and_nothing_is_saved(store: Path) -> None:
    good = np.array([np.inf, np.nan, 65_504.0], np.float32)
    for state in ({"w": np.array([1.0, 1e6], np.float32)}, {"w": torch.tensor([1.0, -1e6])}):
        with pytest.raises(errors.UnsupportedLeaf, match="'w' has values that float16 cannot"):
            holdfast.save(store, state, run="r", step=0, cast={"w": "float16"})
    large = {"w": torch.tensor([1.0, 1e6])}
    ckpt = Checkpointer(store, large, run="r", cast={"w": "float16"})
    with ckpt, pytest.raises(errors.UnsupportedLeaf, match="float16 cannot hold"):
        ckpt.save(0)
    assert Store(store).log("r") == []
    holdfast.save(store, {"w": good}, run="r", step=1, cast={"w": "float16"}, check_finite=True)
    np.testing.assert_array_equal(holdfast.load(store, "r@1")["w"], good)
    assert Store(store).info("r@1").not_finite == 2


def test_only_arrays_of_wider_floats_are_cast(store: Path) -> None:
    state = {
        "int": np.arange(10),
        "half": np.ones(10, np.float16),
        "complex": np.ones(10, np.complex64),
        "counter": np.array(1001.0, np.float32),
        "one": np.array([1001.0], np.float32),
        "scalar": np.float32(0.1),
        "float": 0.1,
        "none": np.empty((0, 3), np.float32),
        "w": np.full(10, 0.1, np.float32),
    }
    holdfast.save(store, state, run="r", step=0, cast={"**": "bfloat16"})
    found = holdfast.load(store, "r@0")
    for name, value in state.items():
        if name != "w":
            assert type(found[name]) is type(value), name
            np.testing.assert_array_equal(found[name], value)
    assert found["w"].tolist() == [0.10009765625] * 10


def test_of_several_patterns_the_first_counts(store: Path) -> None:
    state = {"a": {"x": np.ones(4, np.float32)}, "b": np.ones(4, np.float32)}
    holdfast.save(store, state, run="r", step=0, cast={"a/**": "float16", "**": "bfloat16"})
    found = {leaf.path: leaf.dtype for leaf in Store(store).leaves("r@0")}
    assert (found["a/x"], found["b"]) == ("float16", "bfloat16")


def test_an_array_of_two_names_is_one_thing(store: Path) -> None:
    tied = torch.randn(10)
    with pytest.raises(errors.UsageError, match="are one array, and cast= does not name both"):
        holdfast.save(store, {"a": tied, "b": tied}, run="r", step=0, cast={"a": "float16"})
    holdfast.save(store, {"a": tied, "b": tied}, run="r", step=0, cast={"**": "float16"})
    found = holdfast.load(store, "r@0")
    assert found["a"] is found["b"]


@pytest.mark.parametrize(
    "cast", ["bfloat16", {"a": "int8"}, {"a": torch.float16}, {3: "float16"}, {"": "float16"}]
)
def test_what_is_no_cast_is_refused(store: Path, cast: Any) -> None:
    with pytest.raises(errors.UsageError):
        holdfast.save(store, {"a": np.ones(3)}, run="r", step=0, cast=cast)
    with pytest.raises(errors.UsageError):
        Checkpointer(store, {"a": np.ones(3)}, run="r", cast=cast)


def test_ranks_cast_what_they_share_and_what_is_their_own(store: Path) -> None:
    def state_of(rank: int, by: float) -> dict[str, Any]:
        return {
            "w": np.linspace(0, by, 3000, dtype=np.float32),
            "own": np.full(10, 0.1 + rank, np.float32),
            "step": np.array(1001.0, np.float32),
        }

    def opened(ranks: Any, state: Mapping[str, Any]) -> Checkpointer:
        cast = {"w": "float16", "own": "bfloat16"}
        return Checkpointer(
            store, dict(state), run="r", ranks=ranks, per_rank="own", rng=False, cast=cast
        )

    def save(ranks: Any) -> None:
        with opened(ranks, state_of(ranks.rank, 1.0)) as ckpt:
            ckpt.save(3).wait()

    states = [state_of(rank, 9.0) for rank in range(2)]

    def restore(ranks: Any) -> object:
        with opened(ranks, states[ranks.rank]) as ckpt:
            return ckpt.restore()

    assert together(ranks_of(2), save) == [None, None]
    assert all(together(ranks_of(2), restore))
    for rank, state in enumerate(states):
        wanted = state_of(rank, 1.0)
        np.testing.assert_array_equal(state["w"], wanted["w"].astype(np.float16))
        np.testing.assert_array_equal(state["own"], wanted["own"].astype(ml_dtypes.bfloat16))
        assert state["step"] == 1001
    dtypes = {leaf.path: (leaf.dtype, leaf.cast_from) for leaf in Store(store).leaves("r@3")}
    assert dtypes == {
        "w": ("float16", "float32"),
        "own": ("bfloat16", "float32"),
        "step": ("float32", None),
    }


def test_a_module_takes_back_weights_that_were_cast(store: Path) -> None:
    model, other = torch.nn.Linear(30, 20), torch.nn.Linear(30, 20)
    holdfast.save(store, {"model": model}, run="r", step=0, cast={"model": "bfloat16"})
    holdfast.load(store, "r@0", into={"model": other})
    assert torch.equal(other.weight, model.weight.to(torch.bfloat16).float())
