"""Containers come back as they were: kind, class, order, keys."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from state_checks import assert_same, roundtrip

import holdfast
from holdfast.errors import UnsupportedLeaf, UsageError
from holdfast.state.flatten import MAX_DEPTH


class Point(NamedTuple):
    x: int
    y: Any = None


Pair = namedtuple("Pair", "left right")


@dataclasses.dataclass
class Config:
    lr: float
    layers: list[int] = dataclasses.field(default_factory=list)
    derived: int = dataclasses.field(init=False, default=7)

    def __post_init__(self) -> None:
        self.derived = 1000 + len(self.layers)


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: Any
    b: Any = None


@dataclasses.dataclass(slots=True)
class Slotted:
    a: Any


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlotted:
    a: Any
    b: Any


class Outer:
    @dataclasses.dataclass
    class Inner:
        x: int


@dataclasses.dataclass
class Derived(Config):
    more: Any = None


TREES: dict[str, dict[str, Any]] = {
    "nested": {"a": {"b": {"c": [1, [2, (3, [4])]]}}},
    "empty ones": {"d": {}, "l": [], "t": (), "o": OrderedDict(), "n": {"x": {}}, "e": [{}, ()]},
    "tuples": {"t": (1, "a", None), "one": (1,), "nested": ((), ((1,),))},
    "named tuples": {"p": Point(1, [2]), "q": Pair(left=np.arange(3), right=Point(1))},
    "ordered": {"o": OrderedDict([("z", 1), ("a", OrderedDict(b=2))])},
    "order of keys": {"z": 1, "a": 2, "m": {"10": 1, "9": 2, 5: 3}},
    "dataclasses": {"c": Config(0.5, [1, 2]), "d": Derived(0.1, more=Config(1.0))},
    "frozen": {"f": Frozen(Frozen(1, b"x"), np.arange(3)), "s": FrozenSlotted(1, {"x": 2})},
    "slots": {"s": Slotted([1, 2])},
    "nested class": {"i": Outer.Inner(5)},
    "mixed": {"x": [Config(0.5), {"y": (Point(1), [None, {"z": np.ones(2)}])}]},
}


@pytest.mark.parametrize("name", TREES)
def test_containers(store_path: Path, name: str) -> None:
    assert_same(roundtrip(store_path, TREES[name]), TREES[name])


def test_no_constructor_runs(store_path: Path) -> None:
    config = Config(0.5, [1])
    config.derived = -1
    assert roundtrip(store_path, {"c": config})["c"].derived == -1


KEYS: list[Any] = [
    *("", " ", "/", "~", "~0", "~1", "a/b", "a~b", "//", "@", "@x", "*", "**", "?", "[a]", "."),
    *("..", "\0", "\n", "ü", "\N{SPOUTING WHALE}", "\ud800", "1", "None", "True", "x" * 10_000),
    *(0, 2, -5, 2**63, -(2**200), True, None, 1.5, float("inf"), -float("inf"), 5e-324),
]


def test_keys_of_every_kind(store_path: Path) -> None:
    tree = {
        "m": {key: i for i, key in enumerate(KEYS)},
        # To Python 0, False and -0.0 are one key.
        "bools": {False: 1, True: 2},
        "floats": {-0.0: 1},
        "strings": {"a": 1},
        "ints": {7: {8: 9}},
    }
    assert len(tree["m"]) == len(KEYS)
    assert_same(roundtrip(store_path, tree), tree)


def test_keys_that_look_alike_stay_apart(store_path: Path) -> None:
    tree = {"m": {"1": "str", 1: "int", "None": "str", None: "none", "1.5": "str", 1.5: "float"}}
    assert_same(roundtrip(store_path, tree), tree)


def test_a_key_that_is_no_number_comes_back(store_path: Path) -> None:
    [key] = roundtrip(store_path, {"m": {float("nan"): 1}})["m"]
    assert key != key


@pytest.mark.parametrize(
    "key", [b"x", (1, 2), frozenset(), np.int64(1), np.str_("a"), 1j, Path("a")], ids=repr
)
def test_keys_of_other_kinds_are_refused(store_path: Path, key: Any) -> None:
    with pytest.raises(UnsupportedLeaf, match="'here/there' has the key") as caught:
        holdfast.save(store_path, {"here": {"there": {"ok": 1, key: 2}}}, run="r", step=1)
    assert caught.value.path == "here/there"
    assert not store_path.exists()


def test_a_key_with_more_digits_than_python_writes(store_path: Path) -> None:
    tree = {"m": {10**5000: 1}}
    try:
        assert_same(roundtrip(store_path, tree), tree)
    except UnsupportedLeaf:
        assert not store_path.exists()


# --- roots ---


def test_the_root_may_be_any_kind_of_dict_that_torch_gives(store_path: Path) -> None:
    tree = OrderedDict(b=np.arange(3), a=1)
    for step, rng in enumerate([False, True]):
        holdfast.save(store_path, tree, run="r", step=step, rng=rng)
        found = holdfast.load(store_path, f"r@{step}")
        assert list(found) == ["b", "a"]
        assert_same(dict(found), dict(tree))


def test_an_empty_state_is_refused(store_path: Path) -> None:
    with pytest.raises(UsageError, match="empty"):
        holdfast.save(store_path, {}, run="r", step=1)
    assert not store_path.exists()


def test_a_filter_that_leaves_nothing_is_refused(store_path: Path) -> None:
    for only, skip in [("modle/**", None), (None, "**")]:
        with pytest.raises(UsageError):
            holdfast.save(store_path, {"model": 1}, run="r", step=1, only=only, skip=skip)
    assert not store_path.exists()


@pytest.mark.parametrize("root", [[1], (1,), None, 5, "x", np.arange(3)], ids=repr)
def test_roots_that_are_no_dict_are_refused(store_path: Path, root: Any) -> None:
    with pytest.raises(UsageError, match="dict of named things"):
        holdfast.save(store_path, root, run="r", step=1)


@pytest.mark.parametrize("key", ["@rng", "@", 5, None, ("a",)], ids=repr)
def test_keys_that_cannot_stand_at_the_root(store_path: Path, key: Any) -> None:
    with pytest.raises(UsageError, match="root"):
        holdfast.save(store_path, {key: 1}, run="r", step=1)


# --- depth and cycles ---


def nested(depth: int, wrap: Any) -> Any:
    value: Any = np.arange(3)
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "wrap", [lambda v: {"k": v}, lambda v: [v], lambda v: (v,), Frozen], ids=range(4)
)
def test_the_deepest_tree_comes_back(store_path: Path, wrap: Any) -> None:
    tree = {"x": nested(MAX_DEPTH - 1, wrap)}
    assert_same(roundtrip(store_path, tree), tree)
    with pytest.raises(UnsupportedLeaf, match="deeper than 200"):
        holdfast.save(store_path, {"x": nested(MAX_DEPTH, wrap)}, run="r", step=2)


def test_cycles_are_refused(store_path: Path) -> None:
    as_dict: dict[str, Any] = {"a": {}}
    as_dict["a"]["b"] = as_dict
    as_list: list[Any] = []
    as_list.append(([as_list],))
    as_object = Config(0.5)
    as_object.layers = [as_object]  # type: ignore[list-item]
    for value, path in [(as_dict, "x/a/b"), (as_list, "x/0/0/0"), (as_object, "x/layers/0")]:
        with pytest.raises(UnsupportedLeaf, match="contains itself") as caught:
            holdfast.save(store_path, {"x": value}, run="r", step=1)
        assert caught.value.path == path
    assert not store_path.exists()


def test_a_container_met_twice_is_no_cycle(store_path: Path) -> None:
    shared = {"v": [1, 2]}
    tree = {"a": shared, "b": [shared, shared]}
    assert_same(roundtrip(store_path, tree), tree)


# --- classes that are not there ---


def test_a_class_that_is_not_loaded_is_named_and_never_imported(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holdfast.save(store_path, {"ok": 1, "cfg": {"c": Frozen(1)}}, run="r", step=1)
    monkeypatch.delitem(globals(), "Frozen")
    with pytest.raises(holdfast.errors.UnknownType, match="cfg/c") as caught:
        holdfast.load(store_path, "r@1")
    assert caught.value.type_name == f"{__name__}:Frozen"
    assert holdfast.load(store_path, "r@1", skip="cfg/**")["ok"] == 1


def test_a_name_that_is_something_else_now_is_not_trusted(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holdfast.save(store_path, {"c": Frozen(1), "p": Point(1)}, run="r", step=1)
    for name, other in [("Frozen", dict), ("Frozen", print), ("Point", list), ("Point", 5)]:
        with monkeypatch.context() as patch:
            patch.setitem(globals(), name, other)
            with pytest.raises(holdfast.errors.UnknownType):
                holdfast.load(store_path, "r@1")
