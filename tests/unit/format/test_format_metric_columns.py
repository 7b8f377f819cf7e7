"""Metrics as lines and as columns: all comes back, and what is damaged is found."""

from __future__ import annotations

import json
import math
import struct
import zlib

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import ManifestDamaged, StoreTooNew
from holdfast.format import metric_columns as columns
from holdfast.format.metric_columns import MetricColumns

ID = "a" * 32
INTS = st.integers(-(2**63) + 1, 2**63 - 1)
ROWS = st.lists(
    st.tuples(INTS, INTS, st.dictionaries(st.text(min_size=1, max_size=3), st.floats(), max_size=4))
)


def described(found: MetricColumns) -> str:
    """All of it, as text: NaN is not equal to itself."""
    series = {n: (s.rows.tolist(), s.values.tolist()) for n, s in found.series.items()}
    return repr((found.steps.tolist(), found.times_ns.tolist(), found.beginnings, series))


@given(ROWS)
@settings(max_examples=50)
def test_lines_and_columns_say_the_same(rows: list[tuple[int, int, dict[str, float]]]) -> None:
    lines = [columns.row_line(*row) for row in rows] + [columns.beginning_line(ID, 7)]
    found = columns.from_lines(lines)
    assert list(zip(found.steps, found.times_ns, strict=True)) == [row[:2] for row in rows]
    for name, series in found.series.items():
        expected = [(i, row[2][name]) for i, row in enumerate(rows) if name in row[2]]
        assert repr(list(zip(series.rows.tolist(), series.values.tolist(), strict=True))) == repr(
            expected
        )
    assert described(columns.decode(columns.encode(found), what="x")) == described(found)
    assert [b.row for b in found.beginnings] == [len(rows)]


@given(ROWS, st.integers(0, 5))
@settings(max_examples=50)
def test_parts_put_together_are_the_whole(
    rows: list[tuple[int, int, dict[str, float]]], cut: int
) -> None:
    lines = [columns.beginning_line(ID, -1), *(columns.row_line(*row) for row in rows)]
    parts = [columns.from_lines(lines[:cut]), MetricColumns(), columns.from_lines(lines[cut:])]
    assert described(columns.joined(parts)) == described(columns.from_lines(lines))


def test_the_bytes_are_those_of_the_specification() -> None:
    lines = [
        columns.beginning_line(ID, 2),
        columns.row_line(3, 1000, {"loss": 0.5}),
        columns.row_line(5, 900, {"loss": math.inf, "ü": -1.0}),
    ]
    data = columns.encode(columns.from_lines(lines))
    assert data[:16] == b"holdfast metrics"
    assert data[16:32] == xxhash.xxh3_128_digest(data[32:])
    end = 36 + struct.unpack("<I", data[32:36])[0]
    header = json.loads(data[36:end])
    assert header["format"] == 1 and header["rows"] == 2
    assert header["beginnings"] == [[0, ID, 2]]
    assert header["series"] == [["loss", 2], ["ü", 1]]
    blocks = []
    for length in header["blocks"]:
        planes = zlib.decompress(data[end : end + length])
        count = len(planes) // 8
        blocks.append(b"".join(bytes(planes[i::count]) for i in range(count)))
        end += length
    assert end == len(data)
    assert [struct.unpack(f"<{len(b) // 8}q", b) for b in (*blocks[:3], blocks[4])] == [
        (3, 2),
        (1000, -100),
        (0, 1),
        (1,),
    ]
    assert struct.unpack("<2d", blocks[3]) == (0.5, math.inf)
    assert struct.unpack("<d", blocks[5]) == (-1.0,)


@pytest.mark.parametrize(
    "torn",
    [
        b'[3,1000,{"loss"',
        b"\xff\xfe",
        b"",
        b"null",
        b'[true,1,{"loss":1}]',
        b'[1,1,{"loss":"x"}]',
        b'[1,1,{"loss":true}]',
        b"[1,1]",
        b'[1.5,1,{"loss":1}]',
        b'[99999999999999999999,1,{"loss":1}]',
        b'[1,1,{"loss":' + b"9" * 400 + b"}]",
        b'["begin",1,2]',
        b'["begin","x",null]',
        b"[" * 100_000,
    ],
)
def test_lines_that_are_none_are_passed_over(torn: bytes) -> None:
    lines = [columns.row_line(1, 2, {"loss": 1.0}), torn, columns.row_line(2, 3, {"loss": 2.0})]
    found = columns.from_lines(lines)
    assert found.steps.tolist() == [1, 2] and found.series["loss"].values.tolist() == [1.0, 2.0]


def test_every_wrong_bit_is_found() -> None:
    lines = [columns.row_line(step, step, {"loss": step / 3}) for step in range(50)]
    data = columns.encode(columns.from_lines(lines))
    for at in range(len(data)):
        wrong = bytearray(data)
        wrong[at] ^= 1
        with pytest.raises(ManifestDamaged, match="a segment"):
            columns.decode(bytes(wrong), what="a segment")
        with pytest.raises(ManifestDamaged):
            columns.decode(data[:at], what="a segment")


def made(header: object, *blocks: bytes) -> bytes:
    head = json.dumps(header).encode()
    body = struct.pack("<I", len(head)) + head + b"".join(blocks)
    return columns.MAGIC + xxhash.xxh3_128_digest(body) + body


def test_what_is_sealed_and_makes_no_sense_is_refused_with_little_memory() -> None:
    bomb = zlib.compress(bytes(10_000_000))
    one = zlib.compress(bytes(8))
    good = {"format": 1, "rows": 1, "beginnings": [], "series": [], "blocks": [len(one)] * 2}
    assert columns.decode(made(good, one, one), what="x").steps.tolist() == [0]
    for changes, blocks in (
        ({"blocks": [len(bomb), len(one)]}, (bomb, one)),
        ({"rows": 2}, (one, one)),
        ({"rows": -1}, (one, one)),
        ({"rows": "1"}, (one, one)),
        ({"series": [["loss", 1]]}, (one, one)),
        ({"series": 3}, (one, one)),
        ({"beginnings": [[0]]}, (one, one)),
        ({"blocks": [len(one)]}, (one,)),
    ):
        with pytest.raises(ManifestDamaged):
            columns.decode(made(good | changes, *blocks), what="x")
    with pytest.raises(StoreTooNew):
        columns.decode(made(good | {"format": 2}, one, one), what="x")
    with pytest.raises(ManifestDamaged):
        columns.decode(made([], one, one), what="x")


def test_a_row_of_two_metrics_takes_a_few_bytes() -> None:
    random = np.random.default_rng(0)
    lines = [
        columns.row_line(
            step,
            1_700_000_000_000_000_000 + step * 10**8 + int(random.integers(10**6)),
            {"loss": float(np.float32(random.random())), "lr": 1e-3},
        )
        for step in range(5000)
    ]
    assert len(columns.encode(columns.from_lines(lines))) < 10 * 5000 < sum(map(len, lines)) / 5
