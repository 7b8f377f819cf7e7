"""A metric over the steps of a run, and what is robustly known of its noise. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

# The median of |x| is 0.6745 σ where x is normally distributed.
_SIGMA_OF_MEDIAN = 1.4826
# The mean of the smaller three quarters of |x| is 0.5149 σ.
_SIGMA_OF_SMALLER = 1.9421


@dataclass(frozen=True, slots=True)
class Curve:
    """Steps, rising, and the value of a metric at each."""

    steps: Sequence[int]
    values: Sequence[float]

    def __len__(self) -> int:
        return len(self.steps)


def curve_of(points: Iterable[tuple[int, float]]) -> Curve:
    """Return the curve of points in the order in which they were logged.

    Where training went back to an earlier step, what it did again counts: a point takes away all
    before it that are at its step or later.

    >>> curve_of([(1, 5.0), (2, 4.0), (3, 9.0), (2, 3.5)])
    Curve(steps=[1, 2], values=[5.0, 3.5])
    """
    steps: list[int] = []
    values: list[float] = []
    for step, value in points:
        while steps and steps[-1] >= step:
            steps.pop()
            values.pop()
        steps.append(step)
        values.append(value)
    return Curve(steps, values)


def curves_of(logged: Iterable[tuple[int, Mapping[str, float]]]) -> dict[str, Curve]:
    """Return the curves of metrics that were logged in this order."""
    points: dict[str, list[tuple[int, float]]] = {}
    for step, metrics in logged:
        for name, value in metrics.items():
            points.setdefault(name, []).append((step, value))
    return {name: curve_of(found) for name, found in points.items()}


def thinned(points: Sequence[tuple[int, float]], bins: int) -> list[tuple[int, float]]:
    """Return points that look the same where there is room for so many bins side by side.

    Of each bin the first, the lowest, the highest and the last are left.

    Args:
        points: Steps, rising, and finite values.
        bins: How many places there are along the steps.

    >>> thinned([(0, 5.0), (1, 1.0), (2, 9.0), (3, 4.0), (4, 4.5), (99, 2.0)], 2)
    [(0, 5.0), (1, 1.0), (2, 9.0), (4, 4.5), (99, 2.0)]
    """
    if not points:
        return []
    first, width = points[0][0], (points[-1][0] - points[0][0]) / bins or 1.0
    kept: list[tuple[int, float]] = []
    for _, group in groupby(points, key=lambda p: min(int((p[0] - first) / width), bins - 1)):
        of_bin = list(group)
        low, high = min(of_bin, key=_value), max(of_bin, key=_value)
        kept += sorted({of_bin[0], low, high, of_bin[-1]})
    return kept


def _value(point: tuple[int, float]) -> float:
    return point[1]


def mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are finite, NaN where none is.

    >>> mean([1.0, float("nan"), 2.0])
    1.5
    """
    found = [value for value in values if math.isfinite(value)]
    return math.fsum(found) / len(found) if found else math.nan


def noise(values: Sequence[float]) -> float:
    """Return the standard deviation of the noise on a slowly changing curve.

    From second differences, which no straight slope is in: their variance is 6 σ² where the noise
    of the points is independent. By the mean of the smaller three quarters of their sizes, so that
    some outliers do not count; the median would be a whole step off where values are rounded.

    >>> noise([1.0, 2.0, 3.0, 4.0])
    0.0
    """
    bends = [abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    if not bends:
        return 0.0
    smaller = sorted(bends)[: max(1, 3 * len(bends) // 4)]
    return _SIGMA_OF_SMALLER * math.fsum(smaller) / len(smaller) / math.sqrt(6)


def spread(values: Sequence[float], around: float) -> float:
    """Return the standard deviation of values around a point, by the median of the distances."""
    return _SIGMA_OF_MEDIAN * median(abs(value - around) for value in values)
