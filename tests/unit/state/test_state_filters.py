"""only= and skip=, when saving and when loading."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from state_checks import assert_same

import holdfast
from holdfast.errors import UnsupportedLeaf, UsageError


class Point(NamedTuple):
    x: Any
    y: Any


class Stateful:
    def __init__(self, **values: Any) -> None:
        self.values = values

    def state_dict(self) -> dict[str, Any]:
        return dict(self.values)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values = dict(state)


class Dumb(Stateful):
    def state_dict(self) -> dict[str, Any]:
        raise RuntimeError("has no state yet")


def tree() -> dict[str, Any]:
    return {
        "model": {"w": np.arange(3.0), "b": np.ones(2), "deep": {"w": np.zeros(1)}},
        "optimizer": Stateful(state={0: {"m": np.ones(3)}}, lr=0.5),
        "list": [np.arange(2), {"w": 1, "b": 2}, (3, 4)],
        "step": 7,
    }


def save(path: Path, state: dict[str, Any], **options: Any) -> list[str]:
    """Return the paths that were saved."""
    holdfast.save(path, state, run="r", step=1, rng=False, **options)
    return [leaf.path for leaf in holdfast.Store(path).leaves("r@1")]


# --- saving ---


def test_weights_only(store_path: Path) -> None:
    assert save(store_path, tree(), only="model/**") == ["model/w", "model/b", "model/deep/w"]
    assert_same(holdfast.load(store_path, "r@1"), {"model": tree()["model"]})


def test_without_the_optimizer(store_path: Path) -> None:
    paths = save(store_path, tree(), skip="optimizer/**")
    assert not any(path.startswith("optimizer") for path in paths)
    found = holdfast.load(store_path, "r@1")
    assert "optimizer" not in found
    assert_same(found, {k: v for k, v in tree().items() if k != "optimizer"})


def test_a_name_stands_for_all_of_it(store_path: Path) -> None:
    expected = ["model/w", "model/b", "model/deep/w", "step"]
    assert save(store_path, tree(), skip=["optimizer", "list"]) == expected
    assert save(store_path, tree(), only=["model", "step"]) == expected


@pytest.mark.parametrize("skip", [["dumb", "list/0"], ["dumb/**", "list/0/**"]])
def test_what_cannot_give_its_state_can_be_left_out(store_path: Path, skip: list[str]) -> None:
    state = {"dumb": Dumb(), "list": [Dumb(), 5]}
    with pytest.raises(UnsupportedLeaf, match="To leave it out: skip='dumb'"):
        save(store_path, state)
    assert save(store_path, state, skip=skip) == ["list/1"]
    told = holdfast.load(store_path, "r@1", into=state, strict=False)
    assert set(told.missing) == {"dumb", "list/0"}
    holdfast.load(store_path, "r@1", into=state, skip=skip)


def test_an_object_in_a_list_that_was_left_out_stays_as_it_is(store_path: Path) -> None:
    save(store_path, {"list": [Stateful(a=1), 5]}, skip="list/0/**")
    target = {"list": [Stateful(a=3), 0]}
    assert holdfast.load(store_path, "r@1", into=target, strict=False).missing == ("list/0",)
    assert target["list"][0].values == {"a": 3} and target["list"][1] == 5


def test_one_kind_of_leaf_wherever_it_is(store_path: Path) -> None:
    assert save(store_path, tree(), only="**/w") == ["model/w", "model/deep/w", "list/1/w"]
    expected = {
        "model": {"w": tree()["model"]["w"], "deep": {"w": np.zeros(1)}},
        "list": [None, {"w": 1}, (None, None)],
    }
    assert_same(holdfast.load(store_path, "r@1"), expected)


def test_elements_of_sequences_keep_their_places(store_path: Path) -> None:
    save(store_path, {"l": [0, 1, 2, (3, 4)], "n": Point(1, 2)}, skip=["l/1", "l/3/0", "n/x"])
    found = holdfast.load(store_path, "r@1")
    assert_same(found, {"l": [0, None, 2, (None, 4)], "n": Point(None, 2)})


def test_what_is_left_out_is_not_stored(store_path: Path) -> None:
    state = {"small": np.ones(10), "large": np.zeros(1 << 20)}
    info = holdfast.save(store_path, state, run="r", step=1, skip="large", rng=False)
    assert info.state_bytes == 80
    assert info.stored_bytes < 20_000


def test_an_alias_of_what_is_left_out_is_stored(store_path: Path) -> None:
    shared = np.arange(5.0)
    save(store_path, {"a": shared, "b": shared}, skip="a")
    assert_same(holdfast.load(store_path, "r@1"), {"b": shared})


def test_an_empty_container_that_was_asked_for_is_there(store_path: Path) -> None:
    save(store_path, {"a": {}, "b": [], "d": 1}, only=["a", "d"])
    assert_same(holdfast.load(store_path, "r@1"), {"a": {}, "d": 1})


@pytest.mark.parametrize("only", ["gen", "ge*", ["model/**", "gen"]])
def test_a_value_that_a_codec_saves_is_one_leaf(store_path: Path, only: Any) -> None:
    state = {"gen": random.Random(5), "model": 1}
    save(store_path, state, only=only)
    assert holdfast.load(store_path, "r@1")["gen"].random() == random.Random(5).random()


def test_patterns_never_reach_into_what_a_codec_saves(store_path: Path) -> None:
    save(store_path, {"gen": np.random.default_rng(5), "model": 1}, skip="**/state/**")
    found = holdfast.load(store_path, "r@1")["gen"]
    assert found.random() == np.random.default_rng(5).random()


def test_patterns_never_reach_into_the_generators(store_path: Path) -> None:
    np.random.seed(3)
    holdfast.save(store_path, {"a": {"state": 1, "x": 2}}, run="r", step=1, skip="**/state/**")
    expected = np.random.rand()
    holdfast.load(store_path, "r@1", into={"a": {"x": 0}}, rng=True)
    assert np.random.rand() == expected


def test_patterns_are_checked_before_anything_is_made(store_path: Path) -> None:
    for options in ({"only": ""}, {"skip": [5]}):
        with pytest.raises(UsageError, match="pattern"):
            holdfast.save(store_path, {"a": 1}, run="r", step=1, **options)
    assert not store_path.exists()


# --- loading ---


@pytest.fixture
def full(store_path: Path) -> Path:
    save(store_path, tree())
    return store_path


def test_loading_the_weights_only(full: Path) -> None:
    assert_same(holdfast.load(full, "r@1", only="model/**"), {"model": tree()["model"]})


def test_loading_without_the_optimizer(full: Path) -> None:
    found = holdfast.load(full, "r@1", skip="optimizer/**")
    assert "optimizer" not in found
    assert_same(found, {k: v for k, v in tree().items() if k != "optimizer"})


def test_loading_some_leaves(full: Path) -> None:
    found = holdfast.load(full, "r@1", only=["**/w", "list/2/1"], skip="model/deep/**")
    expected = {"model": {"w": tree()["model"]["w"]}, "list": [None, {"w": 1}, (None, 4)]}
    assert_same(found, expected)


def test_only_what_is_chosen_is_read(store_path: Path) -> None:
    state = {"a": np.ones(1 << 20), "b": np.zeros(1 << 20)}
    save(store_path, state)
    # What is not read cannot be found damaged.
    packs = [p for p in (store_path / "runs" / "r" / "packs").rglob("*") if p.is_file()]
    [pack] = packs
    data = bytearray(pack.read_bytes())
    data[100] ^= 1
    pack.write_bytes(data)
    assert_same(holdfast.load(store_path, "r@1", only="b"), {"b": state["b"]})
    with pytest.raises(holdfast.errors.ChunkDamaged):
        holdfast.load(store_path, "r@1", only="a")


def test_an_alias_of_what_is_not_loaded_is_loaded(store_path: Path) -> None:
    shared = np.arange(5.0)
    save(store_path, {"a": shared, "b": shared})
    assert_same(holdfast.load(store_path, "r@1", skip="a"), {"b": shared})
    target = {"a": np.zeros(5), "b": np.zeros(5)}
    holdfast.load(store_path, "r@1", into=target, skip="a")
    assert_same(target, {"a": np.zeros(5), "b": shared})


def test_loading_some_leaves_into_what_stands(full: Path) -> None:
    target = tree()
    target["model"]["w"] -= 5
    target["model"]["b"] -= 5
    target["step"] = 0
    result = holdfast.load(full, "r@1", into=target, only=["model/w", "list/1/b"])
    assert (result.missing, result.unexpected) == ((), ())
    assert_same(target["model"]["w"], np.arange(3.0))
    assert_same(target["model"]["b"], np.ones(2) - 5)
    assert target["step"] == 0


def test_leaves_that_were_not_chosen_are_not_missing(full: Path) -> None:
    target = {"model": {"w": np.zeros(3), "new": np.zeros(1)}, "other": 1}
    holdfast.load(full, "r@1", into=target, only="model/w")
    assert_same(target["model"]["w"], np.arange(3.0))
    with pytest.raises(holdfast.errors.Mismatch, match="model/new"):
        holdfast.load(full, "r@1", into=target, only=["model/w", "model/new"])


def test_a_part_of_a_stateful_object_leaves_the_rest_of_it(full: Path) -> None:
    target = Stateful(state={0: {"m": np.zeros(3)}}, lr=0.1)
    holdfast.load(full, "r@1", into={"optimizer": target}, only="optimizer/lr")
    assert target.values["lr"] == 0.5
    assert_same(target.values.get("state"), {0: {"m": np.zeros(3)}})


def test_a_value_that_a_codec_saved_is_loaded_whole(store_path: Path) -> None:
    save(store_path, {"gen": random.Random(5), "x": 1})
    assert holdfast.load(store_path, "r@1", only="gen")["gen"].random() == random.Random(5).random()
    standing = random.Random(9)
    holdfast.load(store_path, "r@1", into={"gen": standing}, only="*")
    assert standing.random() == random.Random(5).random()


def test_a_pattern_without_effect_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = {"model": {"w": np.ones(3)}, "optimizer": {"m": np.ones(3)}}
    holdfast.save(tmp_path, state, run="r", step=0)
    holdfast.load(tmp_path, "r@0", skip=["optimzer/**", "@rng"])
    assert [r.getMessage() for r in caplog.records] == [
        "skip='optimzer/**' matches no leaf of r@0, and has no effect."
    ]
    caplog.clear()
    holdfast.load(tmp_path, "r@0", only=["model/**", "optimizer/x*"])
    assert "only='optimizer/x*' matches no leaf" in caplog.text
    caplog.clear()
    # What stands, but was not saved, is left as it is by this.
    into = {**state, "loader": {"at": 3}}
    restored = holdfast.load(tmp_path, "r@0", into=into, skip="loader/**")
    assert caplog.text == "" and restored.differences == ()
    restored = holdfast.load(tmp_path, "r@0", into=state, skip="loader")
    assert restored.differences == ("skip='loader' matches no leaf of r@0",)
    with holdfast.Checkpointer(tmp_path, state, run="r", skip="loader/**") as ckpt:
        caplog.clear()
        ckpt.restore()
        assert caplog.text == ""
        ckpt.rollback("r@0", skip="optimzer")
    assert "skip='optimzer' matches no leaf" in caplog.text
