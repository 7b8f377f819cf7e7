"""Whether a state has changed: the middle of a step is never taken for the end of one."""

from __future__ import annotations

import datetime
import enum
import random
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.engine.boundary import Boundary
from holdfast.state import numpy_arrays  # noqa: F401 - registers NumPy's arrays


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Unknown:
    value = 0


def swap(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        state[key] = value

    return change


def first_of_many(state: dict[str, Any]) -> None:
    state["p"][0][0] += 1


CHANGES: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], None]]] = {
    "the first of many arrays": ({"p": [np.zeros(3) for _ in range(40)]}, first_of_many),
    "the first of many numbers": (
        {"p": [0.0] * 1000},
        lambda s: s["p"].__setitem__(0, 1.0),
    ),
    "a number that is equal to another type's": ({"p": [1]}, lambda s: s["p"].__setitem__(0, True)),
    "a deque": ({"d": deque([1, 2], maxlen=3)}, lambda s: s["d"].append(3)),
    "a counter": ({"c": Counter("ab")}, lambda s: s["c"].update("a")),
    "an enum": ({"e": Colour.RED}, swap("e", Colour.BLUE)),
    "a date": ({"t": datetime.datetime(2026, 1, 1)}, swap("t", datetime.datetime(2026, 1, 2))),
    "a path": ({"f": Path("a")}, swap("f", Path("b"))),
    "a scalar": ({"x": np.float32(1)}, swap("x", np.float32(2))),
    "a key": ({"m": {"a": 1}}, lambda s: s["m"].update(b=2)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_seen(name: str) -> None:
    state, change = CHANGES[name]
    boundary = Boundary.take(state, 3, rng=False)
    assert boundary.still_holds(state)
    change(state)
    assert not boundary.still_holds(state)


def test_nothing_is_said_of_what_is_not_known() -> None:
    state = {"x": Unknown()}
    assert not Boundary.take(state, 3, rng=False).still_holds(state)


@pytest.mark.parametrize(
    ("generator", "draw"),
    [
        (np.random.default_rng(1), lambda g: g.random()),
        (np.random.Generator(np.random.MT19937(1)), lambda g: g.random()),
        (np.random.RandomState(1), lambda g: g.rand()),
        (random.Random(1), lambda g: g.random()),
    ],
    ids=["default_rng", "MT19937", "RandomState", "random.Random"],
)
def test_generators_are_remembered(generator: Any, draw: Callable[[Any], float]) -> None:
    from holdfast.state.codecs import codec_of

    state = {"g": generator}
    boundary = Boundary.take(state, 3, rng=False)
    expected = draw(generator)
    # It has moved on; the state is still that of the last step, with the generator put back.
    assert boundary.still_holds(state)
    codec = codec_of(type(generator))
    assert codec is not None
    assert draw(codec.decode(boundary.positions[id(generator)])) == expected
