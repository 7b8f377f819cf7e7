"""How far a tensor moved: sums over its elements, and the figures that follow from them.

Elements are compared in float64. Sums are pairwise within a block (NumPy) and exact from block to
block (``math.fsum``), so that a billion small changes are not lost in one large number. Where a
value is not finite on either side the element is left out of all sums, and counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from holdfast.format import dtypes
from holdfast.history.diff.widen import Bytes, Wide, bit_patterns, is_number, is_whole, widen

# Elements at a time: few enough for a core's cache in float64.
BLOCK_ELEMS = 1 << 16


@dataclass(frozen=True, slots=True)
class Movement:
    """Sums over the elements of a tensor x that became y, or of several tensors together.

    Attributes:
        n_elems: Elements.
        n_changed: Those whose bits differ; where the type was changed, whose values differ.
        n_compared: Those that are finite numbers on both sides; the sums are over them.
        not_finite_before: Elements of x that are NaN or infinite.
        not_finite_after: Elements of y that are.
        sum_sq_change: Σ |y − x|².
        sum_sq_before: Σ |x|².
        sum_sq_after: Σ |y|².
        dot: Σ x·y; of complex numbers the real part of conj(x)·y.
        largest: max |y − x|.
    """

    n_elems: int = 0
    n_changed: int = 0
    n_compared: int = 0
    not_finite_before: int = 0
    not_finite_after: int = 0
    sum_sq_change: float = 0.0
    sum_sq_before: float = 0.0
    sum_sq_after: float = 0.0
    dot: float = 0.0
    largest: float = 0.0

    @property
    def norm_before(self) -> float:
        """‖x‖ = √Σ|x|²."""
        return math.sqrt(self.sum_sq_before)

    @property
    def norm_after(self) -> float:
        """‖y‖ = √Σ|y|²."""
        return math.sqrt(self.sum_sq_after)

    @property
    def relative(self) -> float:
        """‖y − x‖ / ‖x‖; infinite where only ‖x‖ is 0, and NaN where it cannot be told.

        That is where nothing could be compared, or where squares of float64 are too small for it.
        """
        change = math.sqrt(self.sum_sq_change)
        is_too_small = self.largest > 0 and not change and not self.norm_before
        if not self.n_compared or is_too_small:
            return math.nan
        if not self.norm_before:
            return math.inf if change else 0.0
        return change / self.norm_before

    @property
    def cosine(self) -> float:
        """x·y / (‖x‖ ‖y‖), the cosine of the angle between x and y; NaN where one of them is 0."""
        norms = self.norm_before * self.norm_after
        if not norms or not math.isfinite(norms):
            return math.nan
        # Rounding may lead beyond what a cosine can be.
        return max(-1.0, min(1.0, self.dot / norms))

    @property
    def share_changed(self) -> float:
        """Changed elements of all; 0 where there are none."""
        return self.n_changed / self.n_elems if self.n_elems else 0.0


def total(movements: Iterable[Movement]) -> Movement:
    """Return the movement of several pieces, or tensors, together."""
    all_of = list(movements)
    return Movement(
        n_elems=sum(m.n_elems for m in all_of),
        n_changed=sum(m.n_changed for m in all_of),
        n_compared=sum(m.n_compared for m in all_of),
        not_finite_before=sum(m.not_finite_before for m in all_of),
        not_finite_after=sum(m.not_finite_after for m in all_of),
        sum_sq_change=math.fsum(m.sum_sq_change for m in all_of),
        sum_sq_before=math.fsum(m.sum_sq_before for m in all_of),
        sum_sq_after=math.fsum(m.sum_sq_after for m in all_of),
        dot=_signed_sum(m.dot for m in all_of),
        largest=max((m.largest for m in all_of), default=0.0),
    )


def _signed_sum(numbers: Iterable[float]) -> float:
    # Squares that overflow float64 give infinities, and fsum refuses to add those of both signs.
    found = list(numbers)
    return math.fsum(found) if all(map(math.isfinite, found)) else sum(found)


def measure(
    before: Bytes, before_dtype: str, after: Bytes, after_dtype: str, *, as_numbers: bool = True
) -> Movement:
    """Return the movement from the bytes of some elements to those of as many others.

    Args:
        before: Bytes of the elements x.
        before_dtype: Their type.
        after: Bytes of the elements y.
        after_dtype: Their type.
        as_numbers: Compare their values too, where both types are numbers; else only bits.
    """
    sizes = dtypes.itemsize(before_dtype), dtypes.itemsize(after_dtype)
    is_recast = before_dtype != after_dtype
    numbers = as_numbers and is_number(before_dtype) and is_number(after_dtype)
    blocks = []
    for begin in range(0, len(before) // sizes[0], BLOCK_ELEMS):
        x = before[begin * sizes[0] : (begin + BLOCK_ELEMS) * sizes[0]]
        y = after[begin * sizes[1] : (begin + BLOCK_ELEMS) * sizes[1]]
        if not numbers:
            blocks.append(_bits_only(x, y, sizes[0]))
        elif is_recast:
            blocks.append(_recast(widen(x, before_dtype), widen(y, after_dtype)))
        else:
            blocks.append(_same_type(x, y, before_dtype))
    return total(blocks)


def _bits_only(x: Bytes, y: Bytes, itemsize: int) -> Movement:
    differ = bit_patterns(x, itemsize) != bit_patterns(y, itemsize)
    return Movement(n_elems=len(differ), n_changed=int(np.count_nonzero(differ)))


def _same_type(x: Bytes, y: Bytes, dtype: str) -> Movement:
    itemsize = dtypes.itemsize(dtype)
    n_changed = _bits_only(x, y, itemsize).n_changed
    change = _whole_change(x, y, dtype) if is_whole(dtype) else None
    return _sums(widen(x, dtype), widen(y, dtype), n_changed, change)


def _recast(x: Wide, y: Wide) -> Movement:
    both_nan = np.isnan(x) & np.isnan(y)
    return _sums(x, y, int(np.count_nonzero((x != y) & ~both_nan)), None)


def _whole_change(x: Bytes, y: Bytes, dtype: str) -> npt.NDArray[np.float64]:
    """Return |y − x| of integers: exact up to 2**53, where those of float64 would be rounded."""
    kind = np.dtype(np.uint8 if dtype == "bool" else dtype)
    unsigned = np.dtype(f"u{kind.itemsize}")
    a, b = x.view(kind), y.view(kind)
    # Modulo 2**bits, the larger less the smaller is their distance whatever the signs.
    up, down = b.view(unsigned) - a.view(unsigned), a.view(unsigned) - b.view(unsigned)
    distance: npt.NDArray[np.float64] = np.where(b >= a, up, down).astype(np.float64)
    return distance


def _sums(x: Wide, y: Wide, n_changed: int, change: npt.NDArray[np.float64] | None) -> Movement:
    n_elems = len(x)
    good_x, good_y = np.isfinite(x), np.isfinite(y)
    good = good_x & good_y
    n_compared = int(np.count_nonzero(good))
    if n_compared < n_elems:
        x, y = x[good], y[good]
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.abs(y - x) if change is None else change
        return Movement(
            n_elems=n_elems,
            n_changed=n_changed,
            n_compared=n_compared,
            not_finite_before=n_elems - int(np.count_nonzero(good_x)),
            not_finite_after=n_elems - int(np.count_nonzero(good_y)),
            sum_sq_change=float((size * size).sum()),
            sum_sq_before=_sum_of_squares(x),
            sum_sq_after=_sum_of_squares(y),
            dot=float((x.conj() * y).real.sum()),
            largest=float(size.max(initial=0.0)),
        )


def _sum_of_squares(x: Wide) -> float:
    if x.dtype.kind == "c":
        return float((x.real * x.real).sum() + (x.imag * x.imag).sum())
    return float((x * x).sum())
