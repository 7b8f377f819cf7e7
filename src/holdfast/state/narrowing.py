"""Floats in fewer bits, rounded to the nearest, and back in as many as before, with NumPy alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from holdfast.format import dtypes

# Small enough to stay in a core's cache, whatever is made of them on the way.
_BLOCK = 64 << 10


def narrow(raw: memoryview, cast_from: str, into: memoryview, dtype: str) -> None:
    """Write floats in fewer bits, ties to even; float64 becomes bfloat16 by way of float32.

    Args:
        raw: Whole elements of the type ``cast_from``.
        cast_from: float32 or float64.
        into: As many elements of the type ``dtype``.
        dtype: One of its ``NARROWER`` types.
    """
    source, target = _numbers(raw, cast_from), _numbers(into, dtype)
    # What goes beyond the largest number becomes infinite, which is for the caller to look at.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for part in _blocks(len(source)):
            if dtype == "bfloat16":
                target[part] = _bfloat16_of(source[part].astype(np.float32))
            else:
                target[part] = source[part]


def widen(raw: memoryview, dtype: str, into: memoryview, cast_from: str) -> None:
    """Write floats in as many bits as they had; none is rounded.

    Args:
        raw: Whole elements of the type ``dtype``.
        dtype: As what they are stored.
        into: As many elements of the type ``cast_from``.
        cast_from: What they were.
    """
    source, target = _numbers(raw, dtype), _numbers(into, cast_from)
    with np.errstate(invalid="ignore"):
        for part in _blocks(len(source)):
            numbers = source[part]
            if dtype == "bfloat16":
                numbers = (numbers.astype(np.uint32) << np.uint32(16)).view(np.float32)
            target[part] = numbers


def _numbers(raw: memoryview, dtype: str) -> npt.NDArray[np.generic]:
    """Return bytes as an array of a type; bfloat16 as the bits that NumPy has no name for."""
    return np.frombuffer(raw, np.uint16 if dtype == "bfloat16" else dtypes.to_numpy(dtype))


def _blocks(n: int) -> Iterator[slice]:
    return (slice(at, at + _BLOCK) for at in range(0, n, _BLOCK))


def _bfloat16_of(numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Return the upper halves of float32, rounded to the nearest, ties to even."""
    bits = numbers.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    # Rounding could carry a NaN's mantissa into infinity; it becomes a quiet NaN of its sign.
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where(np.isnan(numbers), quiet, rounded).astype(np.uint16)
