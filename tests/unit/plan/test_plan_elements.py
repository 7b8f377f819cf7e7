"""What the elements of each chunk are: what most of its bytes belong to."""

from __future__ import annotations

import pytest

from holdfast.format import dtypes
from holdfast.format.part import ArrayRow
from holdfast.plan.elements import BYTES, Elements, elements_of, elements_of_chunks

DTYPES = (
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float8_e4m3fn", "float16", "bfloat16", "float32", "float64"),
    *("complex32", "complex64", "complex128", "np:<U8", "np:<f4", "np:>f4", "np:<M8[ns]"),
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_elements_fit_into_their_dtype(dtype: str) -> None:
    found = elements_of(dtype)
    assert dtypes.itemsize(dtype) % found.width == 0
    floats = ("float", "bfloat", "complex", "np:<f")
    assert found.is_float == (dtype.startswith(floats) and found.width > 1)


def test_a_chunk_is_taken_for_what_most_of_it_is() -> None:
    rows = [
        ArrayRow("torch", "float32", (10,), 0, 0),
        ArrayRow("torch", "bfloat16", (10,), 0, 48),
        ArrayRow("torch", "int64", (0,), 0, 0),
        ArrayRow("numpy", "np:<U4", (3,), 1, 0),
        ArrayRow("numpy", "float64", (5, 2), 2, 0),
    ]
    found = elements_of_chunks(rows, [68, 48, 32, 48, 7])
    assert found == [Elements(4, True), BYTES, Elements(8, True), Elements(8, True), BYTES]
