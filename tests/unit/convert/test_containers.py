"""Containers told by marks, and ranges of bytes read by slabs."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from absent import required
from holdfast.convert.containers import LIST, NUMBERED, TUPLE, rebuilt
from holdfast.convert.orbax import ocdbt
from holdfast.convert.slabs import slab_reader, slabs


@pytest.mark.parametrize(
    ("mapping", "mark", "expected"),
    [
        ({"0": 1, "1": 2}, LIST, [1, 2]),
        ({"1": 2, "0": 1}, TUPLE, (1, 2)),
        ({}, LIST, []),
        ({"5": 1, "-3": 2}, NUMBERED, {5: 1, -3: 2}),
        ({"0": 1, "2": 2}, LIST, {"0": 1, "2": 2}),
        ({"05": 1}, NUMBERED, {"05": 1}),
        ({"x": 1}, NUMBERED, {"x": 1}),
        ({"0": 1}, None, {"0": 1}),
        ({"0": 1}, "no mark", {"0": 1}),
    ],
)
def test_a_mark_is_believed_where_keys_agree(
    mapping: dict[str, Any], mark: str | None, expected: Any
) -> None:
    assert rebuilt(mapping, mark) == expected


@given(st.lists(st.integers(1, 5), max_size=4), st.data())
def test_slabs_cover_a_range_in_order(shape: list[int], data: st.DataObject) -> None:
    size = prod(shape)
    begin = data.draw(st.integers(0, size))
    end = data.draw(st.integers(begin, size))
    whole = np.arange(size).reshape(shape)
    found = [whole[slab].reshape(-1) for slab in slabs(shape, begin, end)]
    joined = np.concatenate(found) if found else np.arange(0)
    assert joined.tolist() == list(range(begin, end))
    # Not element by element: a few slabs for each dimension.
    assert len(found) <= max(1, 2 * len(shape))


@given(st.lists(st.integers(1, 4), max_size=3), st.sampled_from(["u1", "f4", "V3"]), st.data())
def test_bytes_are_read_from_any_offset(shape: list[int], dtype: str, data: st.DataObject) -> None:
    kind = np.dtype(dtype)
    raw = bytes(range(256)) * 2
    array = np.frombuffer(raw[: prod(shape) * kind.itemsize], kind).reshape(shape)
    begin = data.draw(st.integers(0, array.nbytes))
    into = bytearray(data.draw(st.integers(0, array.nbytes - begin)))
    slab_reader(shape, kind.itemsize, lambda slab: array[slab])(begin, memoryview(into))
    assert bytes(into) == raw[begin : begin + len(into)]


@pytest.mark.parametrize("n", [0, 1, 4096, 4097, 10_000])
def test_a_database_is_what_tensorstore_takes(tmp_path: Any, n: int) -> None:
    tensorstore = required("tensorstore")
    keys = sorted(b"key%d/\xff" % i for i in range(n))
    entries: list[tuple[bytes, ocdbt.Inline | ocdbt.Outside]] = [
        (key, ocdbt.Outside(3, 5) if i % 3 else ocdbt.Inline(b"small"))
        for i, key in enumerate(keys)
    ]
    made = ocdbt.build(
        entries, data_file="d/data", begin=16, uuid=bytes(range(16)), commit_ns=10**18
    )
    (tmp_path / "d").mkdir()
    (tmp_path / "d/data").write_bytes(b"---large--------" + made.nodes)
    (tmp_path / ocdbt.MANIFEST).write_bytes(made.manifest)
    base = {"driver": "file", "path": f"{tmp_path}/"}
    database = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
    # A listing is in no order that anybody promises.
    assert sorted(database.list().result()) == keys
    for place in {0, n // 2, n - 1} if n else set():
        expected = b"large" if place % 3 else b"small"
        assert database.read(keys[place]).result().value == expected
