"""What cannot be saved is refused by name and place, before anything is written."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import io
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast.errors import UnsupportedLeaf


class Bits(enum.Flag):
    A = 1
    B = 2


class MyInt(int):
    pass


class MyDict(dict):  # type: ignore[type-arg]
    pass


class OnlyGets:
    def state_dict(self) -> dict[str, int]:
        return {"a": 1}


class Stateful:
    def state_dict(self) -> dict[str, Any]:
        return {"fine": 1, "bad": object()}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclasses.dataclass
class Holder:
    good: int
    bad: Any


class OddZone(dt.tzinfo):
    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(0)


UNSUPPORTED = {
    "object": object(),
    "function": len,
    "lambda": lambda: 1,
    "partial": functools.partial(int),
    "class": int,
    "dataclass class": Holder,
    "module": dt,
    "set": {1, 2},
    "frozenset": frozenset(),
    "bytearray": bytearray(b"x"),
    "memoryview": memoryview(b"x"),
    "array.array": array.array("f"),
    "range": range(3),
    "generator": (i for i in range(3)),
    "decimal": decimal.Decimal("0.1"),
    "date": dt.date(2026, 1, 1),
    "timedelta": dt.timedelta(1),
    "datetime with an odd zone": dt.datetime(2026, 1, 1, tzinfo=OddZone()),
    "exception": ValueError("x"),
    "lock": threading.Lock(),
    "defaultdict": collections.defaultdict(list),
    "int subclass": MyInt(5),
    "dict subclass": MyDict(a=1),
    "flags together": Bits.A | Bits.B,
    "no flag": Bits(0),
    "half stateful": OnlyGets(),
    "array of objects": np.array([None, "x"], object),
    "struct with objects": np.zeros(2, [("a", "O")]),
    "masked array": np.ma.masked_array([1, 2], [True, False]),
    "record array": np.zeros(2, [("a", "i4")]).view(np.recarray),
    "struct out of order": np.zeros(
        2, np.dtype({"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [4, 0]})
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_values_are_refused_by_path(store_path: Path, name: str) -> None:
    tree = {"model": {"ok": np.arange(3), "layers": [1, {"bad key/": UNSUPPORTED[name]}]}}
    with pytest.raises(UnsupportedLeaf, match="model/layers/1/bad key~1") as caught:
        holdfast.save(store_path, tree, run="r", step=1)
    assert caught.value.path == "model/layers/1/bad key~1"
    assert caught.value.exit_code == 2
    assert not store_path.exists()


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_values_can_be_left_out(store_path: Path, name: str) -> None:
    tree = {"ok": 1, "model": {"bad": UNSUPPORTED[name], "w": 2}, "list": [UNSUPPORTED[name], 3]}
    skip = ["model/bad", "list/0"]
    holdfast.save(store_path, tree, run="r", step=1, skip=skip, rng=False)
    assert holdfast.load(store_path, "r@1") == {"ok": 1, "model": {"w": 2}, "list": [None, 3]}


def test_the_message_says_what_to_do(store_path: Path) -> None:
    with pytest.raises(UnsupportedLeaf) as caught:
        holdfast.save(store_path, {"x": {"y": MyInt(1)}}, run="r", step=1)
    for piece in ("x/y", "MyInt", "plain int", "register_codec", "skip='x/y'", "nothing was saved"):
        assert piece in str(caught.value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Stateful(), "x/bad"),
        (Holder(1, {"deep": object()}), "x/bad/deep"),
        ((1, [object()]), "x/1/0"),
        ([Stateful()], "x/0/bad"),
    ],
    ids=range(4),
)
def test_the_place_is_named_through_objects(store_path: Path, value: Any, path: str) -> None:
    with pytest.raises(UnsupportedLeaf) as caught:
        holdfast.save(store_path, {"x": value}, run="r", step=1)
    assert caught.value.path == path


def test_a_save_that_is_refused_leaves_what_was_there(store_path: Path) -> None:
    holdfast.save(store_path, {"a": 1}, run="r", step=1)
    before = sorted(store_path.rglob("*"))
    with pytest.raises(UnsupportedLeaf):
        holdfast.save(store_path, {"a": object()}, run="r", step=2)
    assert sorted(store_path.rglob("*")) == before


def test_a_time_zone_without_a_name_is_refused(store_path: Path) -> None:
    import zoneinfo

    # Coordinated universal time, as RFC 9636 has it in a file: one type and no transitions.
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    file = b"TZif" + bytes(16) + counts + struct.pack(">lBB", 0, 0, 0) + b"UTC\0"
    zone = zoneinfo.ZoneInfo.from_file(io.BytesIO(file))
    with pytest.raises(UnsupportedLeaf, match="'t' is a datetime"):
        holdfast.save(store_path, {"t": dt.datetime(2026, 1, 1, tzinfo=zone)}, run="r", step=1)


@dataclasses.dataclass
class Besides:
    a: int = 1
    b: int = dataclasses.field(init=False)

    @functools.cached_property
    def twice(self) -> int:
        return 2 * self.a


@dataclasses.dataclass
class Output(collections.OrderedDict):  # type: ignore[type-arg]
    """As the outputs of some libraries are."""

    a: int = 1


def unset() -> Besides:
    return Besides()


def with_an_attribute() -> Besides:
    value = Besides()
    value.b, value.c = 2, 3  # type: ignore[attr-defined]
    return value


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (unset, "has no value in its field 'b'"),
        (with_an_attribute, "has 'c' besides its fields"),
        (Output, "is a dict besides"),
    ],
)
def test_a_dataclass_that_would_not_come_back_as_it_was(
    store_path: Path, make: Any, what: str
) -> None:
    with pytest.raises(UnsupportedLeaf, match=f"'x/0' is a .*, a dataclass that {what}"):
        holdfast.save(store_path, {"x": [make()]}, run="r", step=0)
    assert not store_path.exists() or not holdfast.Store(store_path).runs()


def test_what_a_dataclass_has_computed_and_kept_is_no_field(store_path: Path) -> None:
    value = Besides()
    value.b = 5
    assert value.twice == 2
    holdfast.save(store_path, {"x": value}, run="r", step=0)
    assert holdfast.load(store_path, "r@0")["x"] == value
