"""Names of element types: the same type by the same name, and nothing else by it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from absent import required
from holdfast.format import dtypes

ml_dtypes = required("ml_dtypes")

COMMON = {
    "bool": 1,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "float16": 2,
    "float32": 4,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}
LOW_PRECISION = {
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
}


@pytest.mark.parametrize(("name", "size"), COMMON.items())
def test_common_types_have_their_common_names(name: str, size: int) -> None:
    assert dtypes.from_numpy(np.dtype(name)) == name
    assert dtypes.to_numpy(name) == np.dtype(name)
    assert dtypes.itemsize(name) == size


@pytest.mark.parametrize(("name", "size"), LOW_PRECISION.items())
def test_types_of_low_precision(name: str, size: int) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name))
    assert dtypes.from_numpy(dtype) == name
    assert dtypes.to_numpy(name) == dtype
    assert dtypes.itemsize(name) == size


NUMPY_ONLY = [
    ">f4",
    ">i8",
    "<U8",
    ">U3",
    "S5",
    "V7",
    "M8[ns]",
    "<M8[25s]",
    "m8[D]",
    "M8",
    ">M8[us]",
    "longdouble",
    "clongdouble",
    [("a", "i1"), ("b", ">f8", (2, 3)), ("c", [("d", "<U3"), ("e", "?", 2)])],
    [(("a title", "a"), "i1"), ("ü", "f4")],
    {"names": ["a", "c"], "formats": ["i4", "f8"], "offsets": [0, 8], "itemsize": 32},
]


@pytest.mark.parametrize("spec", NUMPY_ONLY, ids=str)
def test_types_that_only_numpy_has(spec: object) -> None:
    dtype = np.dtype(spec)  # type: ignore[call-overload]
    name = dtypes.from_numpy(dtype)
    assert name is not None and name.startswith("np:")
    assert dtypes.to_numpy(name) == dtype
    assert dtypes.itemsize(name) == dtype.itemsize


def test_a_struct_with_padding_keeps_its_size() -> None:
    dtype = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    name = dtypes.from_numpy(dtype)
    assert name is not None
    assert dtypes.to_numpy(name) == dtype
    assert dtypes.itemsize(name) == 16


@pytest.mark.parametrize("spec", ["O", [("a", "O")], [("a", [("b", "O", 2)])]], ids=str)
def test_types_that_hold_python_objects_have_no_name(spec: object) -> None:
    assert dtypes.from_numpy(np.dtype(spec)) is None  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "kind", ["int4", "uint4", "int2", "float8_e3m4", "float8_e4m3", "float4_e2m1fn"]
)
def test_a_type_that_cannot_come_back_as_it_was_has_no_name(kind: str) -> None:
    # NumPy's own description of these is that of raw bytes.
    dtype = np.dtype(getattr(ml_dtypes, kind))
    name = dtypes.from_numpy(dtype)
    assert name is None or dtypes.to_numpy(name) == dtype


def test_a_struct_with_a_field_that_cannot_come_back_has_no_name() -> None:
    dtype = np.dtype([("a", ml_dtypes.bfloat16)])
    name = dtypes.from_numpy(dtype)
    assert name is None or dtypes.to_numpy(name) == dtype


@pytest.mark.parametrize(
    "spec",
    [
        {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [4, 0]},
        {"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 2]},
    ],
    ids=["out of order", "overlapping"],
)
def test_a_struct_that_numpy_cannot_describe_has_no_name(spec: dict[str, list[object]]) -> None:
    dtype = np.dtype(spec)  # type: ignore[call-overload]
    name = dtypes.from_numpy(dtype)
    assert name is None or dtypes.to_numpy(name) == dtype


@pytest.mark.parametrize(
    "name",
    [
        "",
        "float33",
        "object",
        "np:",
        "np:O",
        "np:|O8",
        "np:(2,)f4,O",
        'np:[["a","|O"]]',
        "np:[]]",
        "np:[1]",
        'np:[["a"]]',
        'np:[["a", 5]]',
        'np:[{"a": 1}]',
        "np:" + "[" * 5000,
        "np:nonsense",
        "np:i4,{",
        "np:__import__('os')",
        "torch.float32",
    ],
)
def test_names_of_nothing_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"dtype|NumPy"):
        dtypes.itemsize(name)
    with pytest.raises(ValueError, match=r"dtype|NumPy"):
        dtypes.to_numpy(name)


def test_complex32_is_known_but_not_to_numpy() -> None:
    assert dtypes.itemsize("complex32") == 4
    with pytest.raises(ValueError, match="NumPy has no dtype"):
        dtypes.to_numpy("complex32")


def test_descriptions_are_json() -> None:
    name = dtypes.from_numpy(np.dtype([("a", "<f4", (2,))]))
    assert name is not None
    assert json.loads(name.removeprefix("np:")) == [["a", "<f4", [2]]]
