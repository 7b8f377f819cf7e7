"""Divergence told from a curve: values that are no numbers, that jump and stay up, or climb."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

from holdfast.policy.checks import Mode
from holdfast.policy.climbing import Climb, ClimbTracker
from holdfast.policy.curve import Curve, spread
from holdfast.policy.finding import Finding


@dataclass(frozen=True, slots=True)
class DivergenceRule:
    """When a value counts as diverged.

    At once where it is NaN or infinite. Else when ``patience`` values in a row jump: each is above
    m, the median of the ``window`` values before the first of them, by more than ``z`` · s and
    more than ``floor`` · |m|, where s is their robust standard deviation (1.4826 times the median
    of |x − m|). There must have been ``least`` values. Or where the metric has climbed above all
    it was, by medians of ``climb_window`` values (``ClimbTracker``); None: climbs do not count.
    Where higher is better all is turned round.
    """

    patience: int = 3
    z: float = 8.0
    window: int = 50
    floor: float = 0.1
    least: int = 10
    climb_window: int | None = 10


@dataclass(slots=True)
class DivergenceTracker:
    """Follows one metric of a run, and tells when it diverges; once until it is back."""

    metric: str
    rule: DivergenceRule = field(default_factory=DivergenceRule)
    mode: Mode = "min"
    _before: deque[float] = field(default_factory=deque)
    _jumped: list[float] = field(default_factory=list)
    _good_step: int | None = None
    _is_told: bool = False
    _climb: ClimbTracker | None = None

    def __post_init__(self) -> None:
        """Begin to follow climbs, if they count."""
        if self.rule.climb_window is not None:
            self._climb = ClimbTracker(self.rule.climb_window, self.rule.z, self.rule.floor)

    def add(self, step: int, value: float) -> Finding | None:
        """Take a value; tells when it has diverged."""
        since = step if self._good_step is None else self._good_step
        if not math.isfinite(value):
            text = f"{self.metric} is {value} at step {step}"
            return self._tell(Finding("divergence", self.metric, since, step, text))
        signed = value if self.mode == "min" else -value
        climb = self._climb.add(step, signed) if self._climb is not None else None
        if not self._is_jump(signed):
            self._settle(step, signed)
            return self._climbed(step, climb) if climb is not None else None
        self._jumped.append(signed)
        if len(self._jumped) < self.rule.patience:
            return None
        sign = 1 if self.mode == "min" else -1
        text = (
            f"{self.metric} has jumped from {sign * median(self._before):.4g} at step {since} to "
            f"{value:.4g} at step {step}"
        )
        return self._tell(Finding("divergence", self.metric, since, step, text))

    def _climbed(self, step: int, climb: Climb) -> Finding:
        sign, verb = (1, "climbed") if self.mode == "min" else (-1, "fallen")
        text = (
            f"{self.metric} has {verb} from {sign * climb.lowest:.4g} at step {climb.since_step} "
            f"to {sign * climb.smooth:.4g} (median of {self.rule.climb_window}) at step {step}, "
            "worse than it was before that"
        )
        return Finding("divergence", self.metric, climb.since_step, step, text)

    def _tell(self, finding: Finding) -> Finding | None:
        if self._is_told:
            return None
        self._is_told = True
        return finding

    def _settle(self, step: int, value: float) -> None:
        """Take a value as one of the good ones; outliers that came before it are some of them."""
        self._before.extend([*self._jumped, value])
        self._jumped.clear()
        while len(self._before) > self.rule.window:
            self._before.popleft()
        self._good_step, self._is_told = step, False

    def _is_jump(self, value: float) -> bool:
        if len(self._before) < self.rule.least:
            return False
        middle = median(self._before)
        up = value - middle
        if up <= self.rule.floor * abs(middle):
            return False
        return up > self.rule.z * spread(list(self._before), middle)


def find_divergence(
    curve: Curve, metric: str, rule: DivergenceRule | None = None, mode: Mode = "min"
) -> Finding | None:
    """Return where a metric first diverged, if it did.

    Args:
        curve: Its values.
        metric: Its name.
        rule: What counts.
        mode: Which way it is better.
    """
    tracker = DivergenceTracker(metric, rule or DivergenceRule(), mode)
    for step, value in zip(curve.steps, curve.values, strict=True):
        if (found := tracker.add(step, value)) is not None:
            return found
    return None
