"""Values of foreign files as values that a state can hold."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest

from holdfast.convert.savable import at_root, savable
from holdfast.state.flatten import flatten

ID = UUID(int=7)


@pytest.mark.parametrize(
    ("value", "expected", "note"),
    [
        ({3, 1, 2}, [1, 2, 3], "x: set became list"),
        (frozenset("ab"), ["a", "b"], "x: frozenset became list"),
        (PurePosixPath("a/b"), "a/b", "x: PurePosixPath became text"),
        (Decimal("1.50"), "1.50", "x: Decimal became text"),
        (Fraction(1, 3), "1/3", "x: Fraction became text"),
        (ID, str(ID), "x: UUID became text"),
        (dt.date(2026, 1, 2), "2026-01-02", "x: date became text"),
        (dt.time(3, 4), "03:04:00", "x: time became text"),
        (dt.timedelta(minutes=1), 60.0, "x: timedelta became seconds"),
        (dt.UTC, "UTC", "x: timezone became text"),
        (range(1, 7, 2), [1, 3, 5], "x: range became list"),
        (slice(1, None), [1, None, None], "x: slice became list"),
        ({(1, 2): "a"}, [[(1, 2), "a"]], "x: dict with other keys"),
    ],
)
def test_what_a_state_cannot_hold_becomes_the_nearest(value: Any, expected: Any, note: str) -> None:
    notes: list[str] = []
    found = savable({"x": value}, notes)
    assert found == {"x": expected} and type(found["x"]) is type(expected)
    assert len(notes) == 1 and notes[0].startswith(note)
    flatten(found)


def test_what_it_can_hold_is_left_alone() -> None:
    notes: list[str] = []
    value = {
        "a": OrderedDict({1: None, False: 2.5, None: b"x"}),
        "b": [1j, (dt.datetime(2026, 1, 2), "t")],
    }
    found = savable(value, notes)
    assert found == value and type(found["a"]) is OrderedDict and notes == []


@pytest.mark.parametrize("value", [3, [1], {1: 2}, {"@rng": 1}])
def test_what_is_no_mapping_of_names_gets_one(value: Any) -> None:
    assert at_root(value, []) == {"value": value}
    assert at_root({"a": value}, []) == {"a": value}
