"""Arrays whose elements share memory are not filled in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import holdfast
from holdfast.errors import RestoreIncomplete
from holdfast.state.overlap import shares_elements


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(-9, 9)), max_size=3),
    st.integers(1, 3),
)
def test_it_is_told_whether_bytes_are_used_twice(
    dims: list[tuple[int, int]], itemsize: int
) -> None:
    shape, strides = [n for n, _ in dims], [step for _, step in dims]
    places = [0]
    for n, step in dims:
        places = [place + i * step for place in places for i in range(n)]
    used = [place + byte for place in places for byte in range(itemsize)]
    if len(set(used)) < len(used):
        assert shares_elements(shape, strides, itemsize)
    elif all(step % itemsize == 0 for step in strides):
        assert not shares_elements(shape, strides, itemsize)


def test_windows_over_one_array_get_an_array_of_their_own(tmp_path: Path) -> None:
    saved = np.arange(6.0).reshape(3, 2)
    holdfast.save(tmp_path, {"windows": saved}, run="r", step=0)
    base = np.zeros(4)
    into = {"windows": np.lib.stride_tricks.sliding_window_view(base, 2, writeable=True)}
    holdfast.load(tmp_path, "r@0", into=into)
    assert np.array_equal(into["windows"], saved)
    assert not base.any()


@pytest.mark.parametrize("column", ["x", "y"])
def test_a_field_of_records_is_filled_where_it_lies(tmp_path: Path, column: str) -> None:
    records = np.zeros(4, dtype=[("x", "i4"), ("y", "f8")])
    values = np.arange(4).astype(records.dtype[column])
    holdfast.save(tmp_path, {"column": values}, run="r", step=0)
    holdfast.load(tmp_path, "r@0", into={"column": records[column]})
    assert np.array_equal(records[column], values)


def test_arrays_that_lie_in_one_memory_in_part_are_restored_into_it(tmp_path: Path) -> None:
    saved = np.arange(20.0)
    state = {"head": saved[:10], "middle": saved[5:15], "inside": saved[6:8], "end": saved[12:]}
    holdfast.save(tmp_path, state, run="r", step=0)
    base = np.zeros(20)
    into = {"head": base[:10], "middle": base[5:15], "inside": base[6:8], "end": base[12:]}
    holdfast.load(tmp_path, "r@0", into=into)
    assert np.array_equal(base, saved)


def test_arrays_that_were_apart_do_not_fit_into_memory_that_they_share(tmp_path: Path) -> None:
    holdfast.save(tmp_path, {"head": np.zeros(10), "tail": np.ones(10)}, run="r", step=0)
    base = np.zeros(15)
    with pytest.raises(RestoreIncomplete, match="share memory"):
        holdfast.load(tmp_path, "r@0", into={"head": base[:10], "tail": base[5:]})
