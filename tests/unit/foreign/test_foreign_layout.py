"""Any range of an array's bytes, however it lies in the file, against NumPy's own indexing."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import ForeignDamaged
from holdfast.foreign import layout
from holdfast.foreign.arrays import boxed_array
from holdfast.foreign.layout import Box, View, dense_strides, rectangles
from holdfast.foreign.sources import FileRange


@given(st.lists(st.integers(1, 5), max_size=4).map(tuple), st.data())
def test_rectangles_cover_a_range_in_order(shape: tuple[int, ...], data: Any) -> None:
    total = math.prod(shape)
    first = data.draw(st.integers(0, total - 1))
    end = data.draw(st.integers(first + 1, total))
    numbers = np.arange(total).reshape(shape)
    found = [
        numbers[tuple(slice(b, b + n) for b, n in zip(begin, part, strict=True))].reshape(-1)
        for begin, part in rectangles(shape, first, end)
    ]
    assert np.concatenate(found).tolist() == list(range(first, end))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layout")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_range_of_every_view(folder: Path, data: Any) -> None:
    """Transposed, stepped, repeated, of either byte order, in one box or cut into several."""
    dice = np.random.default_rng(data.draw(st.integers(0, 9)))
    base = dice.integers(0, 1 << 30, (6, 5, 4), "<i4")
    kind = data.draw(st.sampled_from(["<i4", ">i4", "<c8", ">c8", "|S3"]))
    raw = base.view("u1").tobytes()
    flat = np.frombuffer(raw[: len(raw) // np.dtype(kind).itemsize * np.dtype(kind).itemsize], kind)
    whole = flat[: flat.size // 10 * 10].reshape(-1, 5, 2)
    order = data.draw(st.permutations(range(3)))
    steps = tuple(
        slice(data.draw(st.integers(0, 1)), None, data.draw(st.integers(1, 2))) for _ in "abc"
    )
    view = whole.transpose(order)[steps]
    if data.draw(st.booleans()):
        view = np.broadcast_to(view[:, None], (view.shape[0], 2, *view.shape[1:]))
    path = folder / "x"
    path.write_bytes(b"head" + flat.tobytes())
    begin = view.__array_interface__["data"][0] - flat.__array_interface__["data"][0]
    name = {"i4": "int32", "c8": "complex64", "S3": "np:|S3"}[kind[1:]]
    strides = tuple(s // view.itemsize for s in view.strides)
    source = FileRange(str(path), 4, 4 + flat.nbytes)
    cut = data.draw(st.integers(0, view.shape[0]))
    boxes = []
    for first, last in ((0, cut), (cut, view.shape[0])):
        if first < last:
            at = (first, *(0 for _ in view.shape[1:]))
            offset = begin + first * view.strides[0]
            shape = (last - first, *view.shape[1:])
            boxes.append(Box(at, View(source, offset, shape, strides, 1, kind[0] == ">")))
    array = boxed_array(name, view.shape, tuple(boxes))
    expected = np.ascontiguousarray(view).astype(view.dtype.newbyteorder("<")).tobytes()
    low = data.draw(st.integers(0, len(expected)))
    high = data.draw(st.integers(low, len(expected)))
    found = bytearray(high - low)
    array.read(low, memoryview(found))
    assert bytes(found) == expected[low:high]


def test_no_read_is_longer_than_it_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large array that lies across is brought together in little memory."""
    values = np.random.default_rng(0).integers(0, 1 << 30, (3000, 2000), "<i4")
    (tmp_path / "x").write_bytes(values.tobytes())
    longest = 0

    class Watched(FileRange):
        def read(self, into: memoryview, offset: int) -> None:
            nonlocal longest
            longest = max(longest, into.nbytes)
            FileRange.read(self, into, offset)

    source = Watched(str(tmp_path / "x"), 0, values.nbytes)
    array = boxed_array(
        "int32", (2000, 3000), (Box((0, 0), View(source, 0, (2000, 3000), (1, 2000), 1)),)
    )
    found = bytearray(1 << 20)
    array.read(5_000_001, memoryview(found))
    assert bytes(found) == values.T.tobytes()[5_000_001 : 5_000_001 + len(found)]
    assert longest <= layout._MOST_READ_BYTES


@pytest.mark.parametrize("shape", [(2, 3), (1, 3), ()])
def test_elements_that_are_longer_than_a_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    monkeypatch.setattr(layout, "_MOST_READ_BYTES", 4)
    values = np.arange(math.prod(shape), dtype=">i8").reshape(shape[::-1])
    (tmp_path / "x").write_bytes(values.tobytes())
    source = FileRange(str(tmp_path / "x"), 0, values.nbytes)
    strides = dense_strides(shape, fortran=True)
    view = View(source, 0, shape, strides, 1, big_endian=True)
    array = boxed_array("int64", shape, (Box((0,) * len(shape), view),))
    assert array.numpy().tolist() == values.T.tolist()


def test_a_file_that_became_shorter_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(os.urandom(3 << 20))
    source = FileRange(str(tmp_path / "x"), 0, 3 << 20)
    view = View(source, 0, (3 << 20,), (1,), 1)
    array = boxed_array("uint8", (3 << 20,), (Box((0,), view),))
    assert array.numpy().tobytes() == (tmp_path / "x").read_bytes()
    os.truncate(tmp_path / "x", 2 << 20)
    with pytest.raises(ForeignDamaged, match="ends before"):
        array.numpy()
