"""Objects of classes that only their maker has: refused, or kept as the plain values they hold."""

from __future__ import annotations

import enum
import pickle
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_checks import assert_same, read

from holdfast.errors import ForeignRefused
from holdfast.foreign import Replaced


class Color(enum.Enum):
    RED = "r"


class Number(enum.IntEnum):
    ONE = 1


Point = namedtuple("Point", "x y")


@dataclass
class Settings:
    lr: float
    more: Any


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self) -> None:
        self.a, self.b = 1, [2]


class Table(dict[str, int]):
    pass


class Rows(list[int]):
    pass


class Masked(np.ndarray[Any, Any]):
    pass


class Weighted(torch.Tensor):
    pass


KEPT: dict[str, tuple[Any, Any]] = {
    "member of an enum": (Color.RED, "r"),
    "number of an enum": (Number.ONE, 1),
    "named tuple": (Point(1, [2]), (1, [2])),
    "dataclass": (Settings(0.1, {"a": Color.RED}), {"lr": 0.1, "more": {"a": "r"}}),
    "slots": (Slotted(), {"a": 1, "b": [2]}),
    "dict": (Table(a=1), {"a": 1}),
    "list": (Rows([1, 2]), [1, 2]),
    "array": (np.arange(3).view(Masked), np.arange(3)),
}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", KEPT)
def test_they_are_refused_unless_asked_to_be_kept(name: str, protocol: int) -> None:
    value, expected = KEPT[name]
    Path("x.pkl").write_bytes(pickle.dumps({"v": value}, protocol=protocol))
    with pytest.raises(ForeignRefused, match=r"at 'v': a \S+ is there"):
        read("x.pkl")
    tree = read("x.pkl", unknown="keep")
    found: Any = tree.numpy()
    assert_same(found["v"], expected)
    assert tree.replaced[-1].path == "v"
    assert tree.replaced[-1].what.endswith(type(value).__qualname__)


def test_what_became_of_each_is_told() -> None:
    Path("x.pkl").write_bytes(pickle.dumps([KEPT["dataclass"][0]], protocol=4))
    assert read("x.pkl", unknown="keep").replaced == (
        Replaced("0/more/a", f"{__name__}.Color", "str"),
        Replaced("0", f"{__name__}.Settings", "dict"),
    )


def test_tensors_with_more_to_them() -> None:
    torch.save({"v": torch.ones(2).as_subclass(Weighted)}, "x.pt")
    with pytest.raises(ForeignRefused, match="a tensor with more to it"):
        read("x.pt")
    found: Any = read("x.pt", unknown="keep").numpy()
    assert found["v"].tolist() == [1, 1]


def test_what_is_dangerous_is_never_kept() -> None:
    import os

    for value in (os.system, [Color.RED, eval]):
        Path("x.pkl").write_bytes(pickle.dumps(value))
        with pytest.raises(ForeignRefused) as caught:
            read("x.pkl", unknown="keep")
        assert caught.value.level == "dangerous"
