"""Which elements of a stored array are not finite: NaN or infinite, of every type of float.

An element is told by its bits: of an IEEE type it is not finite if all bits of the exponent are
set. Most blocks have no such element, so that the first look is only whether there is any.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from holdfast.format import dtypes

Bytes = npt.NDArray[np.uint8]
# Small enough to stay in a core's cache, large enough that calls cost nothing.
_BLOCK_BYTES = 256 << 10
_UNITS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


@dataclass(frozen=True, slots=True)
class _Bits:
    """How a number of a type tells that it is not finite: the bits of a mask are these.

    Attributes:
        unit_bytes: Bytes of one number; of a complex type those of one of its two.
        mask: The bits to look at.
        found: What they are where it is not finite.
        per_element: Numbers in an element: 2 of a complex type.
    """

    unit_bytes: int
    mask: int
    found: int
    per_element: int = 1


_FLOAT16, _FLOAT32, _FLOAT64 = (2, 0x7C00), (4, 0x7F800000), (8, 0x7FF0000000000000)
_KNOWN = {
    "float16": _Bits(*_FLOAT16, _FLOAT16[1]),
    "bfloat16": _Bits(2, 0x7F80, 0x7F80),
    "float32": _Bits(*_FLOAT32, _FLOAT32[1]),
    "float64": _Bits(*_FLOAT64, _FLOAT64[1]),
    "complex32": _Bits(*_FLOAT16, _FLOAT16[1], 2),
    "complex64": _Bits(*_FLOAT32, _FLOAT32[1], 2),
    "complex128": _Bits(*_FLOAT64, _FLOAT64[1], 2),
    "float8_e5m2": _Bits(1, 0x7C, 0x7C),
    # No infinity, and one NaN of either sign; or none but the negative zero; or the highest power.
    "float8_e4m3fn": _Bits(1, 0x7F, 0x7F),
    "float8_e4m3fnuz": _Bits(1, 0xFF, 0x80),
    "float8_e5m2fnuz": _Bits(1, 0xFF, 0x80),
    "float8_e8m0fnu": _Bits(1, 0xFF, 0xFF),
}


@cache
def can_be_not_finite(dtype: str) -> bool:
    """Say whether elements of a type can be NaN or infinite, and this can tell.

    Fields of structured types are not looked at.

    >>> can_be_not_finite("bfloat16"), can_be_not_finite("int8"), can_be_not_finite("np:>f4")
    (True, False, True)
    """
    return dtype in _KNOWN or _is_numpys(dtype)


def _is_numpys(dtype: str) -> bool:
    if not dtype.startswith(dtypes.NUMPY_PREFIX) or dtypes.to_numpy(dtype).kind not in "fc":
        return False
    # Others would lie across the blocks that are looked at; no system of today has them.
    return dtypes.itemsize(dtype).bit_count() == 1


def count_not_finite(raw: Bytes, dtype: str) -> int:
    """Return how many elements are not finite; a complex one is not if one of its numbers is not.

    Args:
        raw: The bytes of whole elements, aligned to the size of their numbers.
        dtype: Their type, one that ``can_be_not_finite``.

    >>> count_not_finite(np.array([1.0, np.nan, -np.inf], "f4").view("u1"), "float32")
    2
    """
    # A multiple of every element's size, so that none lies across two blocks.
    blocks = (raw[at : at + _BLOCK_BYTES] for at in range(0, len(raw), _BLOCK_BYTES))
    return sum(_in_block(block, dtype) for block in blocks)


def _in_block(block: Bytes, dtype: str) -> int:
    bits = _KNOWN.get(dtype)
    if bits is None:
        return int(np.count_nonzero(~np.isfinite(block.view(dtypes.to_numpy(dtype)))))
    if not _has_any(block, bits):
        return 0
    unit = _UNITS[bits.unit_bytes]
    found = (block.view(unit) & unit(bits.mask)) == unit(bits.found)
    if bits.per_element > 1:
        found = found.reshape(-1, bits.per_element).any(axis=1)
    return int(np.count_nonzero(found))


def _has_any(block: Bytes, bits: _Bits) -> bool:
    """Say whether any number is not finite, at the speed of the cache."""
    if bits.unit_bytes >= 4:
        values = block.view(np.float32 if bits.unit_bytes == 4 else np.float64)
        return not np.isfinite(values).all()
    unsigned = block.view(_UNITS[bits.unit_bytes])
    if bits.mask == bits.found:
        # Of either sign these are the highest numbers; without a sign, they are so too.
        sign = 1 << (8 * bits.unit_bytes - 1)
        is_signed = not bits.mask & sign
        signed = unsigned.view(f"i{bits.unit_bytes}")
        positive = is_signed and int(signed.max(initial=0)) >= bits.found
        return positive or int(unsigned.max(initial=0)) >= bits.found | sign
    return bool((unsigned == bits.found).any())
