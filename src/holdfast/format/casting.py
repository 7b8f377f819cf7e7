"""Floats in fewer bits, rounded to the nearest, and back in as many as they had, with NumPy alone.

A cast that loses digits is made where a user asks for it by name, and the manifest says of each
such array what it was (docs/spec/v1.md, 7.3).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from holdfast.format import dtypes

# What a type of float may become.
NARROWER = {
    "float32": ("bfloat16", "float16"),
    "float64": ("float32", "bfloat16", "float16"),
}
_MARK = "<"
# Small enough to stay in a core's cache, whatever is made of them on the way.
_BLOCK = 64 << 10
Numbers = npt.NDArray[np.floating]


def is_cast(dtype: str, cast_from: str) -> bool:
    """Say whether arrays of a type may be stored as another one.

    >>> is_cast("bfloat16", "float32"), is_cast("float32", "bfloat16")
    (True, False)
    """
    return dtype in NARROWER.get(cast_from, ())


def type_text(dtype: str, cast_from: str) -> str:
    """Return a type as it stands in a manifest; cast_from is empty where nothing was cast.

    >>> type_text("bfloat16", "float32"), type_text("float32", "")
    ('bfloat16<float32', 'float32')
    """
    return f"{dtype}{_MARK}{cast_from}" if cast_from else dtype


def split_type(text: str) -> tuple[str, str]:
    """Return dtype and ``cast_from`` of the text of a type.

    Raises:
        ValueError: There is no such type, or no such cast.
    """
    if text.startswith(dtypes.NUMPY_PREFIX) or _MARK not in text:
        dtypes.itemsize(text)
        return text, ""
    dtype, _, cast_from = text.partition(_MARK)
    if not is_cast(dtype, cast_from):
        raise ValueError(f"no cast leads from {cast_from!r} to {dtype!r}")
    return dtype, cast_from


def stored_bytes(nbytes: int, dtype: str, cast_from: str) -> int:
    """Return the bytes of a cast array, or of a part of it.

    Args:
        nbytes: What it takes as it was.
        dtype: As what it is stored.
        cast_from: What it was.
    """
    return nbytes // dtypes.itemsize(cast_from) * dtypes.itemsize(dtype)


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
