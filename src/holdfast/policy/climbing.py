"""A metric that climbs step by step, so slowly that no value is a jump, above all it ever was."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import final

from holdfast.policy.curve import noise, spread

# Values that the noise is taken from, and those that tell how far the metric strayed at its best.
_NOISE_WINDOW = 100
_SPREAD_WINDOW = 50


@final
@dataclass(frozen=True, slots=True)
class Climb:
    """Where a climb began, at the lowest value, and where it has come to; lower is better."""

    since_step: int
    lowest: float
    smooth: float


@dataclass(slots=True)
class ClimbTracker:
    """Follows one metric, of which lower is better, and tells the first time that it has climbed.

    Let v be the median of the last ``window`` values, v* the lowest such median so far, h the
    highest before v*, and s the larger of the noise of the last 100 values (``curve.noise``) and
    the robust standard deviation of the 50 values up to v* from a straight line. It has climbed if
    v - h is above (h - v*) / 2, ``z`` · s and ``floor`` · ``|h|``: all that was won is lost, and
    half as much again.
    """

    window: int
    z: float
    floor: float
    _values: deque[float] = field(default_factory=lambda: deque(maxlen=_NOISE_WINDOW))
    _steps: deque[int] = field(default_factory=lambda: deque(maxlen=_NOISE_WINDOW))
    _highest: float = 0.0
    _best: tuple[float, float, list[float], int, float] | None = None
    _is_told: bool = False

    def add(self, step: int, value: float) -> Climb | None:
        """Take a finite value; tells when the metric has climbed, once until it is back."""
        self._values.append(value)
        self._steps.append(step)
        if len(self._values) < self.window:
            return None
        recent = list(self._values)[-self.window :]
        smooth = median(recent)
        self._highest = smooth if self._best is None else max(self._highest, smooth)
        if self._best is None or smooth <= self._best[0]:
            lowest = min(recent)
            at = list(self._steps)[-self.window :][recent.index(lowest)]
            until = list(self._values)[-_SPREAD_WINDOW:]
            self._best = (smooth, self._highest, until, at, lowest)
            self._is_told = False
            return None
        best, highest, until, at, lowest = self._best
        over = smooth - highest
        if over <= 0:
            self._is_told = False
        if self._is_told or over <= max((highest - best) / 2, self.floor * abs(highest), 0.0):
            return None
        if over <= self.z * max(noise(list(self._values)), _strayed(until)):
            return None
        self._is_told = True
        return Climb(at, lowest, smooth)


def _strayed(values: list[float]) -> float:
    """Return the robust standard deviation of values from the line through both their halves."""
    half = len(values) // 2
    slope = (median(values[-half:]) - median(values[:half])) / (len(values) - half)
    flat = [value - i * slope for i, value in enumerate(values)]
    return spread(flat, median(flat))
