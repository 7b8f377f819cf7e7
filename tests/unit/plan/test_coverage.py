"""Boxes that cover arrays once and only once are told from all others."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.format.boxes import Box, first_fault
from holdfast.plan.coverage import Coverage

SHAPES = st.lists(st.integers(1, 5), max_size=3).map(tuple)


def cuts(n: int) -> st.SearchStrategy[list[int]]:
    return st.sets(st.integers(1, n)).map(lambda found: sorted({0, n, *found}))


@st.composite
def grids(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Box]]:
    """A shape, and boxes that cover it: a grid."""
    shape = draw(SHAPES)
    runs = [list(pairwise(c)) for c in (draw(cuts(n)) for n in shape)]
    boxes = [
        Box(tuple(a for a, _ in found), tuple(b - a for a, b in found)) for found in product(*runs)
    ]
    return shape, boxes


def faults(shapes: list[tuple[int, ...]], boxes: list[tuple[int, Box]]) -> list[int]:
    coverage = Coverage(shapes)
    at = [n for _, box in boxes for n in box.offset]
    dims = [n for _, box in boxes for n in box.shape]
    assert coverage.add([number for number, _ in boxes], at, dims) == ""
    return coverage.faults()


@given(st.lists(grids(), min_size=1, max_size=4), st.data())
def test_it_says_what_comparing_all_boxes_says(
    made: list[tuple[tuple[int, ...], list[Box]]], data: st.DataObject
) -> None:
    boxes = [(number, box) for number, (_, found) in enumerate(made) for box in found]
    shapes = [shape for shape, _ in made]
    assert faults(shapes, boxes) == []
    changed = list(boxes)
    for at in sorted(data.draw(st.sets(st.integers(0, len(boxes) - 1), max_size=2)), reverse=True):
        # One is missing, or is there twice, or stands in the place of another.
        what = data.draw(st.sampled_from(["gone", "twice", "moved"]))
        if what == "gone":
            del changed[at]
        elif what == "twice":
            changed.append(changed[at])
        else:
            number, box = changed[at]
            changed[at] = number, Box((0,) * len(box.offset), box.shape)
    of_each = [[box for number, box in changed if number == i] for i in range(len(made))]
    bad = [i for i, found in enumerate(of_each) if first_fault(shapes[i], found)]
    assert faults(shapes, changed) == bad


def test_arrays_of_no_elements_and_of_no_dims() -> None:
    shapes: list[tuple[int, ...]] = [(0, 3), (), (2,)]
    assert faults(shapes, [(1, Box((), ())), (2, Box((0,), (2,)))]) == []
    assert faults(shapes, []) == [1, 2]
    assert faults(shapes, [(1, Box((), ())), (1, Box((), ()))]) == [1, 2]


@pytest.mark.parametrize(
    ("array", "at", "dims", "what"),
    [
        ([1], [0], [1], "not there"),
        ([0], [0, 0], [1, 1], "number of dims"),
        ([0], [3], [2], "sticks out"),
        ([0], [0], [0], "sticks out"),
        ([0], [2**62], [2**62], "sticks out"),
        ([], [1], [1], "no boxes"),
    ],
)
def test_what_is_no_box(array: list[int], at: list[int], dims: list[int], what: str) -> None:
    assert what in Coverage([(4,)]).add(array, at, dims)


def test_where_no_array_is_shared_nothing_is_missing() -> None:
    coverage = Coverage([])
    assert coverage.add([], [], []) == ""
    assert coverage.faults() == []
