"""Elements of every stored type as numbers that can be compared, with NumPy alone."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from holdfast.format import dtypes

Bytes = npt.NDArray[np.uint8]
# float64, or complex128 where the elements are complex.
Wide = npt.NDArray[np.float64] | npt.NDArray[np.complex128]

_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_MANTISSA_BITS = {"e4m3fn": 3, "e4m3fnuz": 3, "e5m2": 2, "e5m2fnuz": 2}
_EXPONENT_BIAS = {"e4m3fn": 7, "e4m3fnuz": 8, "e5m2": 15, "e5m2fnuz": 16}


@cache
def is_number(dtype: str) -> bool:
    """Say whether elements of a type are numbers: all but text, times and structures.

    >>> is_number("bfloat16"), is_number("np:<U8")
    (True, False)
    """
    if dtype.startswith(dtypes.NUMPY_PREFIX):
        return dtypes.to_numpy(dtype).kind in "biufc"
    return True


@cache
def is_whole(dtype: str) -> bool:
    """Say whether elements of a type are integers or booleans in this machine's own byte order.

    >>> is_whole("int64"), is_whole("float32")
    (True, False)
    """
    return dtype.startswith(("int", "uint", "bool"))


def bit_patterns(raw: Bytes, itemsize: int) -> npt.NDArray[np.generic]:
    """Return the bytes of elements so that ``!=`` along the first axis compares whole elements."""
    if itemsize in _UNSIGNED:
        return raw.view(_UNSIGNED[itemsize])
    return raw.view(np.dtype((np.void, itemsize)))


def widen(raw: Bytes, dtype: str) -> Wide:
    """Return the values of elements, none of them rounded but integers beyond 2**53.

    Args:
        raw: Their bytes.
        dtype: Their type, one of which ``is_number`` holds.

    >>> widen(np.array([0x80, 0x3F], "u1"), "bfloat16")
    array([1.])
    """
    # A signalling NaN becomes a quiet one; that is no news.
    with np.errstate(invalid="ignore"):
        return _widen(raw, dtype)


def _widen(raw: Bytes, dtype: str) -> Wide:
    if dtype == "bfloat16":
        bits = raw.view(np.uint16).astype(np.uint32) << np.uint32(16)
        return bits.view(np.float32).astype(np.float64)
    if dtype.startswith("float8_"):
        return _float8_values(dtype.removeprefix("float8_"))[raw]
    if dtype == "complex32":
        return raw.view(np.float16).astype(np.float32).view(np.complex64).astype(np.complex128)
    values = raw.view(dtypes.to_numpy(dtype))
    if values.dtype.kind == "c":
        return values.astype(np.complex128)
    return values.astype(np.float64)


@cache
def _float8_values(kind: str) -> npt.NDArray[np.float64]:
    """Return the value of each of the 256 bytes; ``kind`` is the name behind ``float8_``."""
    codes = np.arange(256)
    if kind == "e8m0fnu":
        # Powers of two only: no sign, no mantissa.
        return np.where(codes == 0xFF, np.nan, np.exp2(codes - 127.0))
    mantissa_bits, bias = _MANTISSA_BITS[kind], _EXPONENT_BIAS[kind]
    exponent = (codes & 0x7F) >> mantissa_bits
    fraction = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    size = np.where(
        exponent == 0,
        fraction * np.exp2(1.0 - bias),
        (1 + fraction) * np.exp2(exponent.astype(np.float64) - bias),
    )
    values = np.where(codes & 0x80, -size, size)
    return _with_specials(values, codes, kind)


def _with_specials(
    values: npt.NDArray[np.float64], codes: npt.NDArray[np.int_], kind: str
) -> npt.NDArray[np.float64]:
    if kind.endswith("fnuz"):
        # What would be the negative zero is the only NaN; there is no infinity.
        values[0x80] = np.nan
    elif kind == "e4m3fn":
        values[(codes & 0x7F) == 0x7F] = np.nan
    else:
        values[(codes & 0x7F) > 0x7C] = np.nan
        values[0x7C], values[0xFC] = np.inf, -np.inf
    return values
