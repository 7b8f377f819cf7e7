"""Every kind of leaf comes back as it was: the same type, the same bits."""

from __future__ import annotations

import datetime as dt
import enum
import math
import struct
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from state_checks import assert_same, roundtrip

import holdfast
from absent import required
from holdfast.errors import UnsupportedLeaf
from holdfast.state.sharding import Held, all_of


class Colour(enum.Enum):
    RED = "red"
    CRIMSON = "red"
    BLUE = (1, 2)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(enum.StrEnum):
    TRAIN = "train"


class Bits(enum.Flag):
    A = 1
    B = 2


class Outer:
    class Inner(enum.Enum):
        X = 1


def nan_with_payload(payload: int) -> float:
    return struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0000 | payload))[0]


PLAIN: dict[str, Any] = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "int64 max": 2**63 - 1,
    "int64 min": -(2**63),
    "above int64": 2**63,
    "below int64": -(2**63) - 1,
    "byte edges": [127, 128, 255, 256, -127, -128, -129, 2**64 - 1, -(2**64)],
    "huge int": 3**20_000,
    "huge negative": -(7**9_000),
    "float": 0.1 + 0.2,
    "negative zero": -0.0,
    "subnormal": 5e-324,
    "largest": 1.7976931348623157e308,
    "infinities": [math.inf, -math.inf],
    "nan": math.nan,
    "nan with a payload": nan_with_payload(0xDEAD_BEEF),
    "negative nan": -nan_with_payload(1),
    "complex": complex(-0.0, math.inf),
    "complex nan": complex(nan_with_payload(5), -0.0),
    "text": "naïve \N{SPOUTING WHALE} \0 \r\n",
    "empty text": "",
    "lone surrogates": "a\ud800b\udfff",
    "text at the limit": "x" * 4096,
    "long text": "\N{SPOUTING WHALE}" * 5000,
    "long text with surrogates": "\udc80" * 5000,
    "bytes": bytes(range(256)),
    "empty bytes": b"",
    "bytes at the limit": b"x" * 4096,
    "long bytes": bytes(range(256)) * 100,
    "path": Path("a/b/../c"),
    "absolute path": Path("/tmp/ü"),
    "path of undecodable bytes": Path("a\udcff"),
    "here": Path(),
    "enum": Colour.RED,
    "enum alias": Colour.CRIMSON,
    "enum of a tuple": Colour.BLUE,
    "int enum": Level.HIGH,
    "text enum": Mode.TRAIN,
    "flag": Bits.B,
    "nested enum": Outer.Inner.X,
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_values(store_path: Path, name: str) -> None:
    tree = {"value": PLAIN[name], "again": [PLAIN[name], {"x": PLAIN[name]}]}
    assert_same(roundtrip(store_path, tree), tree)


DATETIMES = {
    "naive": dt.datetime(2026, 7, 21, 12, 30, 15, 123456),
    "first": dt.datetime.min,
    "last": dt.datetime.max,
    "utc": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "offset": dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-3, minutes=-30))),
    "odd offset": dt.datetime(
        1900, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=1172, microseconds=7))
    ),
    "zone": dt.datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Vienna")),
    "second fold": dt.datetime(2025, 10, 26, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Vienna")),
    "naive fold": dt.datetime(2025, 10, 26, 2, 30, fold=1),
    "utc by name": dt.datetime(2025, 10, 26, 2, 30, tzinfo=ZoneInfo("UTC")),
}


@pytest.mark.parametrize("name", DATETIMES)
def test_datetimes(store_path: Path, name: str) -> None:
    tree = {"t": DATETIMES[name]}
    found = roundtrip(store_path, tree)
    assert_same(found, tree)
    assert found["t"].utcoffset() == tree["t"].utcoffset()


SCALARS = {
    "float32": np.float32(0.1),
    "float64": np.float64(0.1),
    "float16": np.float16(-0.0),
    "longdouble": np.longdouble("0.1"),
    "nan": np.float32("nan"),
    "int8": np.int8(-5),
    "uint64": np.uint64(2**64 - 1),
    "bool": np.True_,
    "complex64": np.complex64(1 - 2j),
    "text": np.str_("naïve"),
    "bytes": np.bytes_(b"abc"),
    "empty text": np.str_(""),
    "empty bytes": np.bytes_(b""),
    "text with a NUL at its end": np.str_("a\0"),
    "datetime64": np.datetime64("2026-07-21T12:00:00.123456789"),
    "not a time": np.datetime64("NaT", "s"),
    "timedelta64": np.timedelta64(5, "h"),
    "void": np.void(b"\x00\x01\xff"),
    "record": np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])[0],
}


@pytest.mark.parametrize("name", SCALARS)
def test_numpy_scalars(store_path: Path, name: str) -> None:
    tree = {"s": SCALARS[name]}
    assert_same(roundtrip(store_path, tree), tree)


def test_scalars_of_low_precision(store_path: Path) -> None:
    ml_dtypes = required("ml_dtypes")
    tree = {"a": ml_dtypes.bfloat16(1.5), "b": ml_dtypes.float8_e4m3fn(0.5)}
    assert_same(roundtrip(store_path, tree), tree)


# --- arrays ---

BASE = np.arange(24, dtype="f4").reshape(2, 3, 4)
STRUCT = np.dtype([("a", "i1"), ("b", ">f8", (2,)), ("c", [("d", "<U3")])])

ARRAYS = {
    "vector": np.arange(5.0),
    "0-d": np.array(3.5),
    "0-d bool": np.array(True),
    "empty": np.zeros((0,), "f4"),
    "no rows": np.zeros((0, 7), "i8"),
    "no columns": np.zeros((7, 0, 3), "u2"),
    "one element": np.ones((1, 1, 1)),
    "many dimensions": np.ones((1,) * 30 + (2,)),
    "transposed": BASE.T,
    "fortran": np.asfortranarray(BASE),
    "every other": BASE[:, :, ::2],
    "backwards": BASE[::-1],
    "broadcast": np.broadcast_to(np.arange(3), (4, 3)),
    "unaligned": np.frombuffer(b"x" + np.arange(6.0).tobytes(), np.uint8)[1:].view("f8"),
    "read only": np.frombuffer(np.arange(6.0).tobytes()),
    "bool": np.array([[True, False]] * 3),
    "complex": np.array([1 + 2j, complex(math.nan, -0.0)]),
    "float16": np.arange(4, dtype="f2"),
    "big-endian floats": np.arange(5, dtype=">f4"),
    "big-endian ints": np.arange(5, dtype=">i8"),
    "longdouble": np.arange(3, dtype="longdouble") / 3,
    "text": np.array(["", "ü", "\N{SPOUTING WHALE}abc"]),
    "bytes": np.array([b"", b"abc", b"\xff"]),
    "void": np.zeros(3, "V5"),
    "datetime64": np.array(["2026-01-01", "NaT"], "M8[ns]"),
    "datetime64 in steps": np.arange(3).astype("M8[25s]"),
    "timedelta64": np.arange(3).astype("m8[D]"),
    "structured": np.array([(1, (0.5, -0.0), ("ab",)), (2, (3, 4), ("",))], STRUCT),
    "structured, padded": np.zeros(3, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "some fields": np.zeros(3, [("a", "i4"), ("b", "i4"), ("c", "i4")])[["a", "c"]],
    "nan payloads": np.frombuffer(struct.pack("<2Q", 0x7FF8_0000_0000_0001, 0xFFF0_0000_0000_0001)),
    "at the group limit": np.zeros((256 << 10) - 1, "u1"),
    "large": np.arange(100_000),
    "large, transposed": np.arange(100_000.0).reshape(100, -1).T,
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(store_path: Path, name: str) -> None:
    tree = {"a": ARRAYS[name]}
    found = roundtrip(store_path, tree)
    assert_same(found, tree)
    assert found["a"].flags.c_contiguous and found["a"].flags.writeable


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_full_digests(store_path: Path, name: str) -> None:
    tree = {"a": ARRAYS[name]}
    assert_same(roundtrip(store_path, tree, verify="full"), tree)


def test_arrays_of_all_sorts_together(store_path: Path) -> None:
    assert_same(roundtrip(store_path, ARRAYS), ARRAYS)


def test_an_array_of_several_chunks(store_path: Path) -> None:
    tree = {
        "small": np.arange(3),
        "large": np.random.default_rng(0).integers(0, 2**63, (70 << 20) // 8 + 5),
        "last": np.arange(4),
    }
    assert_same(roundtrip(store_path, tree), tree)


def test_arrays_of_low_precision(store_path: Path) -> None:
    ml_dtypes = required("ml_dtypes")
    tree = {
        name: np.arange(5).astype(getattr(ml_dtypes, name))
        for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu")
    }
    assert_same(roundtrip(store_path, tree), tree)


@pytest.mark.parametrize("kind", ["int4", "float8_e3m4"])
def test_arrays_that_cannot_come_back_are_refused(store_path: Path, kind: str) -> None:
    ml_dtypes = required("ml_dtypes")
    tree = {"m": {"w": np.zeros(3, getattr(ml_dtypes, kind))}}
    with pytest.raises(UnsupportedLeaf, match="m/w"):
        holdfast.save(store_path, tree, run="r", step=1)


def test_memory_maps_come_back_as_arrays(store_path: Path, tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "map", "f4", "w+", shape=(7, 3))
    mapped[:] = np.arange(21).reshape(7, 3)
    found = roundtrip(store_path, {"m": mapped, "part": mapped[1:, ::2]})
    assert_same(found, {"m": np.array(mapped), "part": np.array(mapped[1:, ::2])})


# --- arrays over the same memory ---


def test_the_same_array_twice_is_stored_once_and_comes_back_as_one(store_path: Path) -> None:
    a = np.arange(100_000.0)
    tree = {"first": a, "deep": [{"second": a}], "view": a[:], "other": a.copy()}
    info = holdfast.save(store_path, tree, run="r", step=1, rng=False)
    assert info.state_bytes == 2 * a.nbytes
    found = holdfast.load(store_path, "r@1")
    assert_same(found, tree)
    assert found["first"] is found["deep"][0]["second"] is found["view"]
    assert found["other"] is not found["first"]


def test_views_of_one_memory_come_back_each_on_its_own(store_path: Path) -> None:
    a = np.arange(12.0)
    tree = {
        "all": a,
        "head": a[:3],
        "table": a.reshape(3, 4),
        "bits": a.view("i8"),
        "turn": a[::-1],
    }
    assert_same(roundtrip(store_path, tree), tree)


def test_arrays_of_no_elements_are_not_taken_for_one(store_path: Path) -> None:
    a = np.zeros((0, 3))
    found = roundtrip(store_path, {"a": a, "b": a})
    assert_same(found, {"a": a, "b": a})


def test_a_sharded_array_without_elements_is_all_here() -> None:
    nothing = np.zeros((0, 13))
    assert all_of(Held((0, 13), (), nothing), "m") is nothing
    with pytest.raises(UnsupportedLeaf, match="held by several ranks"):
        all_of(Held((4,), (), np.zeros(0)), "m")
