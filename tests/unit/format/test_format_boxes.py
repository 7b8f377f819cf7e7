"""Boxes of arrays, compared with NumPy's own slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.format.boxes import Box, cut, first_fault, intersect, stretches, whole


@st.composite
def shapes_and_boxes(draw: st.DrawFn, n_boxes: int) -> tuple[tuple[int, ...], list[Box]]:
    shape = tuple(draw(st.lists(st.integers(1, 6), max_size=4)))
    boxes = []
    for _ in range(n_boxes):
        ends = [sorted(draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in shape]
        boxes.append(Box(tuple(a for a, _ in ends), tuple(b - a for a, b in ends)))
    return shape, boxes


def taken(array: np.ndarray, box: Box) -> np.ndarray:
    return array[(*(slice(a, a + n) for a, n in zip(box.offset, box.shape, strict=True)), ...)]


@given(shapes_and_boxes(2))
def test_stretches_carry_what_two_boxes_have_in_common(given: tuple) -> None:
    shape, (saved, wanted) = given
    array = np.arange(1, 1 + int(np.prod(shape))).reshape(shape)
    source, target = taken(array, saved).ravel(), np.zeros(wanted.volume, int)
    n = 0
    for run in stretches(saved, wanted):
        assert run.n_elems > 0
        at = slice(run.wanted_at, run.wanted_at + run.n_elems)
        target[at] = source[run.saved_at : run.saved_at + run.n_elems]
        n += run.n_elems
    common = intersect(saved, wanted)
    assert n == (common.volume if common is not None else 0)
    inside = np.zeros(shape, int)
    if common is not None:
        taken(inside, common)[...] = taken(array, common)
    assert (target.reshape(wanted.shape) == taken(inside, wanted)).all()


@given(shapes_and_boxes(0), st.integers(1, 40))
def test_what_is_cut_covers_the_box(given: tuple, most: int) -> None:
    shape, _ = given
    pieces = cut(whole(shape), most)
    assert first_fault(shape, pieces) == ""
    for piece in pieces:
        assert len(list(stretches(piece, whole(shape)))) == 1


@pytest.mark.parametrize(
    ("shape", "boxes", "why"),
    [
        ((4,), [Box((0,), (2,))], "2 of 4 elements are in no box"),
        ((4,), [Box((0,), (3,)), Box((2,), (2,))], "overlap"),
        ((4,), [Box((2,), (3,))], "sticks out"),
        ((2, 2), [Box((0, 0), (2, 1)), Box((0, 0), (1, 2))], "overlap"),
        ((), [Box((), ()), Box((), ())], "overlap"),
        ((), [], "1 of 1 elements"),
        ((0, 3), [], ""),
        ((2, 2), [Box((0, 0), (1, 2)), Box((1, 0), (1, 1)), Box((1, 1), (1, 1))], ""),
    ],
)
def test_boxes_cover_an_array_once_or_it_is_said(
    shape: tuple[int, ...], boxes: list[Box], why: str
) -> None:
    assert why in first_fault(shape, boxes)
    assert bool(why) == bool(first_fault(shape, boxes))
