"""Loading into objects that stand: in place where that can be, and all or nothing."""

from __future__ import annotations

import copy
import dataclasses
import enum
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from state_checks import assert_same

import holdfast
from holdfast.errors import Mismatch, RestoreIncomplete, UnknownType, UsageError


class Point(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass
class Config:
    w: Any
    lr: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    w: Any
    lr: float = 0.0


class Colour(enum.Enum):
    RED = 1


class Stateful:
    def __init__(self, value: Any) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if isinstance(state["value"], str):
            raise RuntimeError("no text, please")
        self.value = state["value"]


class Tree:
    """The other pair of methods."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree

    def get_state_tree(self) -> Any:
        return self.tree

    def set_state_tree(self, tree: Any) -> None:
        self.tree = tree


def save(path: Path, state: dict[str, Any], step: int = 1) -> None:
    holdfast.save(path, state, run="r", step=step, rng=False)


def load(path: Path, target: dict[str, Any], **options: Any) -> holdfast.Restored:
    result: holdfast.Restored = holdfast.load(path, "r@1", into=target, **options)
    return result


# --- what is changed where it is ---


def test_arrays_are_filled_where_they_lie(store_path: Path) -> None:
    rng = np.random.default_rng(0)
    state = {"a": rng.random(100), "large": rng.random((300, 400)), "empty": np.zeros((0, 2))}
    save(store_path, state)
    target = {name: np.zeros_like(value) for name, value in state.items()}
    arrays = dict(target)
    result = load(store_path, target)
    assert_same(target, state)
    assert all(target[name] is arrays[name] for name in arrays)
    assert (result.ref, result.step, result.missing, result.unexpected) == ("r@1", 1, (), ())


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda a: np.zeros((6, 8))[::2, ::2].astype(a.dtype)[::-1],
        lambda a: np.zeros((3, 8), a.dtype)[:, ::2],
        lambda a: np.zeros(13 * 8, np.uint8)[1:97].view(a.dtype).reshape(3, 4),
    ],
    ids=["fortran", "backwards", "every other", "unaligned"],
)
def test_arrays_of_any_layout_are_filled(store_path: Path, layout: Any) -> None:
    value = np.arange(12.0).reshape(3, 4)
    save(store_path, {"a": value})
    standing = layout(np.zeros((3, 4)))
    target = {"a": standing}
    load(store_path, target)
    assert target["a"] is standing
    assert_same(np.array(standing, order="C"), value)


def test_only_the_view_is_filled(store_path: Path) -> None:
    save(store_path, {"a": np.ones(3)})
    whole = np.zeros(9)
    load(store_path, {"a": whole[3:6]})
    assert whole.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]


def test_a_memory_map_is_filled(store_path: Path, tmp_path: Path) -> None:
    save(store_path, {"m": np.arange(5.0)})
    mapped = np.memmap(tmp_path / "map", "f8", "w+", shape=5)
    load(store_path, {"m": mapped})
    mapped.flush()
    assert np.fromfile(tmp_path / "map").tolist() == [0, 1, 2, 3, 4]


def test_nested_containers_keep_their_identity(store_path: Path) -> None:
    state: dict[str, Any] = {
        "d": {"x": [np.arange(3), {"y": (np.ones(2), 5)}], 7: "seven"},
        "c": Config(np.arange(4), 0.5),
    }
    save(store_path, state)
    target = copy.deepcopy(state)
    target["d"]["x"][0][:] = 0
    target["d"]["x"][1]["y"] = (np.zeros(2), 0)
    target["d"][7] = "nothing"
    target["c"].w[:] = 0
    target["c"].lr = 0.0
    inner, config = target["d"]["x"], target["c"]
    load(store_path, target)
    assert_same(target, state)
    assert target["d"]["x"] is inner and target["c"] is config


def test_what_cannot_be_changed_is_replaced(store_path: Path) -> None:
    state = {
        "t": (1, np.arange(3)),
        "n": Point(np.arange(2), "x"),
        "f": Frozen(np.arange(3), 0.5),
        "deep": [(Frozen(np.ones(1), 1.0),)],
        "v": 5,
        "s": "text",
        "b": bytes(5000),
        "none": None,
    }
    save(store_path, state)
    target = {
        "t": (0, np.zeros(3, int)),
        "n": Point(np.zeros(2, int), "y"),
        "f": Frozen(np.zeros(3, int), 0.0),
        "deep": [(Frozen(np.zeros(1), 0.0),)],
        "v": 0,
        "s": "",
        "b": b"",
        "none": 3,
    }
    array, list_ = target["t"][1], target["deep"]
    load(store_path, target)
    assert_same(target, state)
    assert target["t"][1] is array
    assert target["deep"] is list_


def test_an_ordered_dict_and_a_dict_serve_for_one_another(store_path: Path) -> None:
    save(store_path, {"d": OrderedDict(a=np.ones(2)), "e": {"b": 1}})
    target = {"d": {"a": np.zeros(2)}, "e": OrderedDict(b=0)}
    load(store_path, target)
    assert_same(target, {"d": {"a": np.ones(2)}, "e": OrderedDict(b=1)})


def test_a_dict_gets_the_order_that_it_had(store_path: Path) -> None:
    recent = OrderedDict(a=np.ones(2), b=np.ones(2), c=np.ones(2))
    recent.move_to_end("a")
    save(store_path, {"recent": recent, "weights": {"x": 1, "y": 2}, "part": {"k": 1, "l": 2}})
    standing = OrderedDict(a=np.zeros(2), b=np.zeros(2), c=np.zeros(2))
    first = standing["a"]
    state = {"recent": standing, "weights": {"y": 0, "x": 0}, "part": {"l": 0, "m": 3, "k": 0}}
    load(store_path, state, strict=False)
    assert state["recent"] is standing and standing["a"] is first
    assert list(standing) == ["b", "c", "a"] and list(state["weights"]) == ["x", "y"]
    # Where one side has more, nobody knows.
    assert list(state["part"]) == ["l", "m", "k"]


def test_empty_containers_take_what_was_saved(store_path: Path) -> None:
    state = {"d": {"a": [1, np.ones(2)]}, "l": [1, {"b": 2}]}
    save(store_path, state)
    d, l = {}, []  # type: ignore[var-annotated]  # noqa: E741
    target = {"d": d, "l": l}
    load(store_path, target)
    assert_same(target, state)
    assert target["d"] is d and target["l"] is l


def test_a_list_of_plain_values_may_grow_and_shrink(store_path: Path) -> None:
    save(store_path, {"losses": [0.5, 0.4, 0.3], "gone": []})
    losses, gone = [0.9], [1, 2]
    load(store_path, {"losses": losses, "gone": gone})
    assert (losses, gone) == ([0.5, 0.4, 0.3], [])


def test_a_checkpoint_is_loaded_again_and_again(store_path: Path) -> None:
    state = {"a": np.arange(5.0), "n": 1}
    save(store_path, state)
    target = {"a": np.zeros(5), "n": 0}
    for _ in range(3):
        load(store_path, target)
        assert_same(target, state)
        target["a"] += 1


def test_a_state_of_views_is_loaded_into_itself(store_path: Path) -> None:
    flat = np.arange(12.0)
    state = {"flat": flat, "head": flat[:3], "tail": flat[6:], "table": flat.reshape(3, 4)}
    save(store_path, state)
    expected = copy.deepcopy(state)
    flat[:] = 0
    load(store_path, state)
    assert_same(state, expected)
    assert state["table"].base is flat


def test_an_array_that_is_read_only_is_replaced(store_path: Path) -> None:
    state = {"first": np.ones(2), "ro": np.arange(3.0), "last": np.ones(2)}
    save(store_path, state)
    target = {"first": np.zeros(2), "ro": np.zeros(3), "last": np.zeros(2)}
    target["ro"].setflags(write=False)
    try:
        load(store_path, target)
    except Mismatch:
        # As good: nothing was changed.
        assert target["first"].tolist() == target["last"].tolist() == [0, 0]
    else:
        assert_same(target, state)


# --- objects with state ---


@pytest.mark.parametrize("kind", [Stateful, Tree])
def test_objects_are_handed_their_state(store_path: Path, kind: Any) -> None:
    state = {"o": kind({"w": np.arange(3), "t": (1, 2)}), "l": [kind(1)]}
    save(store_path, state)
    target = {"o": kind(None), "l": [kind(0)]}
    objects = target["o"], target["l"][0]
    load(store_path, target)
    assert (target["o"], target["l"][0]) == objects
    assert_same(vars(objects[0]), vars(state["o"]))
    assert_same(vars(objects[1]), vars(state["l"][0]))


def test_the_state_of_an_object_can_be_loaded_as_a_tree_and_into_a_dict(store_path: Path) -> None:
    save(store_path, {"o": Stateful(np.arange(3))})
    assert_same(holdfast.load(store_path, "r@1"), {"o": {"value": np.arange(3)}})
    target = {"o": {"value": np.zeros(3, int)}}
    load(store_path, target)
    assert_same(target, {"o": {"value": np.arange(3)}})


def test_a_dict_can_be_loaded_into_an_object(store_path: Path) -> None:
    save(store_path, {"o": {"value": 5}})
    target = Stateful(0)
    load(store_path, {"o": target})
    assert target.value == 5


def test_generators_are_set_where_they_are(store_path: Path) -> None:
    state = {
        "py": random.Random(1),
        "np": np.random.default_rng(2),
        "old": np.random.RandomState(3),
        "philox": np.random.Generator(np.random.Philox(4)),
    }
    save(store_path, state)
    expected = [state["py"].random(), *(state[k].random() for k in ("np", "old", "philox"))]
    target = {
        "py": random.Random(9),
        "np": np.random.default_rng(9),
        "old": np.random.RandomState(9),
        "philox": np.random.Generator(np.random.Philox(9)),
    }
    generators = dict(target)
    load(store_path, target)
    assert all(target[name] is generators[name] for name in target)
    found = [target["py"].random(), *(target[k].random() for k in ("np", "old", "philox"))]
    assert found == expected


# --- what does not fit ---


MISFITS: dict[str, tuple[Any, Any, list[str]]] = {
    "shape": (np.ones(3), np.zeros(4), ["float64[3]", "float64[4]"]),
    "dimensions": (np.ones(3), np.zeros((3, 1)), ["float64[3]", "float64[3, 1]"]),
    "dtype": (np.ones(3), np.zeros(3, "f4"), ["float64[3]", "float32[3]"]),
    "byte order": (np.ones(3, ">f4"), np.zeros(3, "f4"), ["np:>f4[3]", "float32[3]"]),
    "an array for a number": (np.ones(3), 5, ["float64[3]", "int"]),
    "an array for a dict": (np.ones(3), {"a": 1}, ["float64[3]", "dict"]),
    "a number for an array": (5, np.ones(3), ["int", "array"]),
    "a dict for an array": ({"a": 1}, np.ones(3), ["dict", "array"]),
    "a dict for a list": ({"a": 1}, [1], ["dict", "list"]),
    "a list for a dict": ([1], {"a": 1}, ["list", "dict"]),
    "a number for a dict": (5, {"a": 1}, ["int", "dict"]),
    "a longer tuple": ((1, 2), (1,), ["2 elements", "1"]),
    "a shorter list of arrays": ([np.ones(1)], [np.zeros(1)] * 2, ["1 elements", "2"]),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_named_and_nothing_is_changed(store_path: Path, name: str) -> None:
    saved, wanted, said = MISFITS[name]
    save(store_path, {"a": np.ones(2), "deep": [{"x/y": saved}], "n": 1, "z": np.ones(100_000)})
    target = {"a": np.zeros(2), "deep": [{"x/y": wanted}], "n": 0, "z": np.zeros(100_000)}
    before = copy.deepcopy(target)
    for strict in (True, False):
        with pytest.raises(Mismatch, match="nothing was changed") as caught:
            load(store_path, target, strict=strict)
        [problem] = caught.value.problems  # type: ignore[attr-defined]
        assert "'deep/0/x~1y'" in problem
        assert all(piece in problem for piece in said), problem
        assert_same(target, before)


def test_every_problem_is_told_at_once(store_path: Path) -> None:
    state = {f"a{i}": np.ones(i) for i in range(30)}
    save(store_path, state)
    target = {f"a{i}": np.zeros(i + 1) for i in range(30)}
    with pytest.raises(Mismatch, match="and 10 more") as caught:
        load(store_path, target)
    assert len(caught.value.problems) == 30  # type: ignore[arg-type]


def test_missing_and_unexpected_leaves_are_errors(store_path: Path) -> None:
    save(store_path, {"m": {"a": np.ones(1), "only saved": 1, "more": [1, {"x": 2}]}})
    target = {"m": {"a": np.zeros(1), "only here": 1, "also": {"y": np.zeros(2), "z": 3}}}
    with pytest.raises(Mismatch) as caught:
        load(store_path, target)
    named = "\n".join(caught.value.problems)  # type: ignore[arg-type]
    for path in ("m/only saved", "m/more/0", "m/more/1/x", "m/only here", "m/also/y", "m/also/z"):
        assert repr(path) in named
    assert target["m"]["a"].tolist() == [0]


def test_not_strict_tells_what_was_missing_and_unexpected(store_path: Path) -> None:
    save(store_path, {"m": {"a": np.ones(1), "only saved": 1, "more": [1, {"x": 2}]}})
    target = {"m": {"a": np.zeros(1), "only here": 1, "also": {"y": np.zeros(2)}}, "gone": 5}
    result = load(store_path, target, strict=False)
    assert set(result.missing) == {"m/only here", "m/also/y", "gone"}
    assert set(result.unexpected) == {"m/only saved", "m/more/0", "m/more/1/x"}
    assert target["m"]["a"].tolist() == [1]
    assert target["m"]["only here"] == 1 and "only saved" not in target["m"]


def test_fields_of_a_dataclass_may_differ(store_path: Path) -> None:
    save(store_path, {"c": {"w": np.ones(1), "old": 1}})
    target = {"c": Config(np.zeros(1), 0.5)}
    with pytest.raises(Mismatch):
        load(store_path, target)
    result = load(store_path, target, strict=False)
    assert (result.missing, result.unexpected) == (("c/lr",), ("c/old",))
    assert target["c"].w.tolist() == [1] and target["c"].lr == 0.5


def test_what_was_not_handed_in_is_not_asked_for(store_path: Path) -> None:
    save(store_path, {"model": np.ones(1), "optimizer": np.ones(2)})
    target = {"model": np.zeros(1)}
    result = load(store_path, target)
    assert result.unexpected == ()
    assert target["model"].tolist() == [1]


def test_what_was_handed_in_must_be_there(store_path: Path) -> None:
    save(store_path, {"model": np.ones(1)})
    target = {"model": np.zeros(1), "ema": np.zeros(1)}
    with pytest.raises(Mismatch, match="'ema'"):
        load(store_path, target)
    assert target["model"].tolist() == [0]


@pytest.mark.parametrize("into", [[], (), 5, "x", np.zeros(3)], ids=repr)
def test_targets_that_are_no_dict_are_refused(store_path: Path, into: Any) -> None:
    save(store_path, {"a": 1})
    with pytest.raises(UsageError, match="into="):
        load(store_path, into)


def test_an_empty_target_is_refused(store_path: Path) -> None:
    save(store_path, {"a": 1})
    with pytest.raises(UsageError, match="empty"):
        load(store_path, {})


# --- memory that is shared differently here and there ---


def test_tied_arrays_are_loaded_into_tied_arrays(store_path: Path) -> None:
    shared = np.arange(4.0)
    save(store_path, {"a": shared, "b": shared})
    standing = np.zeros(4)
    target = {"a": standing, "b": standing}
    load(store_path, target)
    assert_same(target, {"a": shared, "b": shared})


def test_tied_arrays_are_loaded_into_separate_ones(store_path: Path) -> None:
    shared = np.arange(4.0)
    save(store_path, {"a": shared, "b": shared})
    target = {"a": np.zeros(4), "b": np.zeros(4)}
    load(store_path, target)
    assert_same(target, {"a": shared, "b": shared})


def test_separate_arrays_are_not_loaded_into_tied_ones(store_path: Path) -> None:
    save(store_path, {"a": np.ones(4), "b": np.zeros(4)})
    standing = np.full(4, 7.0)
    with pytest.raises(Mismatch, match="shares its memory"):
        load(store_path, {"a": standing, "b": standing})
    assert standing.tolist() == [7] * 4


# --- what goes wrong after everything was found good ---


def test_an_object_that_refuses_its_state_is_told_of(store_path: Path) -> None:
    save(store_path, {"a": np.ones(1), "o": Stateful("text")})
    with pytest.raises(RestoreIncomplete, match=r"no text, please.*do not go on"):
        load(store_path, {"a": np.zeros(1), "o": Stateful(1)})


def test_a_class_that_is_not_loaded_is_found_out_before_anything_changes(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step, value in enumerate([Colour.RED, Config(1), Point(1, 2), [{"deep": Frozen(1)}]]):
        state = {"first": np.ones(2), "x": value, "last": np.ones(2)}
        holdfast.save(store_path, state, run="r", step=step, rng=False)
    for name in ("Colour", "Config", "Point", "Frozen"):
        monkeypatch.delitem(globals(), name)
    for step in range(4):
        target = {"first": np.zeros(2), "x": None, "last": np.zeros(2)}
        with pytest.raises(UnknownType, match="'x"):
            holdfast.load(store_path, f"r@{step}", into=target)
        assert target["first"].tolist() == target["last"].tolist() == [0, 0]


def test_a_codec_that_is_not_registered_is_found_out_before_anything_changes(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.state import codecs

    save(store_path, {"first": np.ones(2), "x": random.Random(1), "last": np.ones(2)})
    monkeypatch.delitem(codecs._by_name, "random:Random")
    target = {"first": np.zeros(2), "x": None, "last": np.zeros(2)}
    with pytest.raises(UnknownType, match="random:Random"):
        load(store_path, target)
    assert target["first"].tolist() == target["last"].tolist() == [0, 0]


def test_a_generator_of_another_kind_is_found_out(store_path: Path) -> None:
    save(store_path, {"a": np.ones(2), "g": np.random.Generator(np.random.Philox(1))})
    target = {"a": np.zeros(2), "g": np.random.default_rng(1)}
    with pytest.raises((Mismatch, RestoreIncomplete), match="Philox") as caught:
        load(store_path, target)
    assert isinstance(caught.value, RestoreIncomplete) or target["a"].tolist() == [0, 0]


def test_a_legacy_generator_of_another_kind_changes_nothing(store_path: Path) -> None:
    save(store_path, {"a": np.ones(2), "g": np.random.RandomState(np.random.PCG64(1))})
    target = {"a": np.zeros(2), "g": np.random.RandomState(1)}
    with pytest.raises(Mismatch, match="saved over PCG64, wanted over MT19937"):
        load(store_path, target)
    assert target["a"].tolist() == [0, 0]


def test_an_element_that_was_left_out_is_missing(tmp_path: Path) -> None:
    tree = {"l": [np.zeros(3), np.ones(3)], "d": {"a": 1, "b": 2}}
    holdfast.save(tmp_path, tree, run="r", step=1, skip="l/0", rng=False)
    into = {"l": [np.full(3, 7.0), np.full(3, 7.0)], "d": {"a": 0, "b": 0}}
    with pytest.raises(Mismatch, match="'l/0': wanted, but not in the checkpoint"):
        holdfast.load(tmp_path, "r@1", into=into)
    assert into["l"][1][0] == 7
    told = holdfast.load(tmp_path, "r@1", into=into, strict=False)
    assert told.missing == ("l/0",)
    assert into["l"][0][0] == 7 and into["l"][1][0] == 1
    # What is left out now is not missed.
    assert holdfast.load(tmp_path, "r@1", into=into, skip="l/0").missing == ()
    assert holdfast.load(tmp_path, "r@1", into=into, only="d/**").missing == ()
