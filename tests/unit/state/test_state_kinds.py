"""Values of another kind, and classes that have changed since the save."""

from __future__ import annotations

import dataclasses
import sys
from collections import namedtuple
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast.errors import Mismatch, UnknownType, UnsupportedLeaf


class Colour(Enum):
    RED = 1
    BLUE = 2


Pair = namedtuple("Pair", ["a", "b"])


@dataclasses.dataclass
class Progress:
    done: int
    best: float = 0.5


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [
        ("text", 3),
        ([1], 3),
        (b"x", "x"),
        (Progress(1), 3),
        (np.ones(2), "text"),
        (Path("a"), "a"),
        (3, "text"),
        (Colour.RED, 1),
    ],
)
def test_another_kind_of_value_is_an_error(tmp_path: Path, saved: Any, wanted: Any) -> None:
    holdfast.save(tmp_path, {"x": saved, "w": np.ones(3)}, run="r", step=0)
    live = {"x": wanted, "w": np.zeros(3)}
    with pytest.raises(Mismatch, match="'x'"):
        holdfast.load(tmp_path, "r@0", into=live)
    assert live["x"] == wanted and not live["w"].any()


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [(None, 3), (3, None), (3, 2.5), (True, 0), (1 << 80, 1), (np.float32(2), 1), ("a", "b")],
)
def test_what_may_stand_in_its_place(tmp_path: Path, saved: Any, wanted: Any) -> None:
    holdfast.save(tmp_path, {"x": saved}, run="r", step=0)
    live = {"x": wanted}
    holdfast.load(tmp_path, "r@0", into=live)
    assert live["x"] == saved


def test_a_member_that_an_enum_has_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holdfast.save(tmp_path, {"c": Colour.RED}, run="r", step=0)
    assert holdfast.load(tmp_path, "r@0")["c"] is Colour.RED
    changed = Enum("Colour", {"BLUE": 2}, module=__name__)
    monkeypatch.setattr(sys.modules[__name__], "Colour", changed)
    for into in (None, {"c": changed.BLUE}):
        with pytest.raises(UnknownType, match="no such member here: BLUE"):
            holdfast.load(tmp_path, "r@0", into=into)


def test_an_enum_that_cannot_be_found_by_name_is_taken_from_the_target(tmp_path: Path) -> None:
    class Local(Enum):
        A = 1
        B = 2

    holdfast.save(tmp_path, {"x": Local.B}, run="r", step=0)
    live = {"x": Local.A}
    holdfast.load(tmp_path, "r@0", into=live)
    assert live["x"] is Local.B


def test_fields_that_a_class_has_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holdfast.save(tmp_path, {"p": Pair(1, 2), "d": Progress(3)}, run="r", step=0)
    here = sys.modules[__name__]
    monkeypatch.setattr(here, "Pair", namedtuple("Pair", ["a", "c"]))
    with pytest.raises(UnknownType, match="with the fields b"):
        holdfast.load(tmp_path, "r@0", only="p/**")
    renamed = dataclasses.make_dataclass("Progress", [("finished", int), ("best", float)])
    monkeypatch.setattr(here, "Progress", renamed)
    with pytest.raises(UnknownType, match="with the fields done"):
        holdfast.load(tmp_path, "r@0", only="d/**")


def test_a_new_field_has_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holdfast.save(tmp_path, {"d": Progress(3)}, run="r", step=0)
    grown = dataclasses.make_dataclass(
        "Progress",
        [("done", int), ("best", float), ("seen", list, dataclasses.field(default_factory=list))],
    )
    monkeypatch.setattr(sys.modules[__name__], "Progress", grown)
    found = holdfast.load(tmp_path, "r@0")["d"]
    assert (found.done, found.best, found.seen) == (3, 0.5, [])


def test_an_object_that_fails_to_give_its_state_is_named(tmp_path: Path) -> None:
    class Broken:
        def state_dict(self) -> dict[str, int]:
            raise RuntimeError("not ready")

        def load_state_dict(self, state: object) -> None: ...

    with pytest.raises(UnsupportedLeaf, match=r"'a/b' is a .*Broken .*not ready"):
        holdfast.save(tmp_path, {"a": {"b": Broken()}}, run="r", step=0)
