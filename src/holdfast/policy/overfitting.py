"""Over-fitting told from two curves: validation rises by more than noise while training falls."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

from holdfast.policy.checks import Mode
from holdfast.policy.curve import Curve, mean, noise
from holdfast.policy.finding import Finding

# Evaluations that the noise is taken from: enough for a good estimate, and it may change.
_NOISE_WINDOW = 100
# What is added to z where there are more evaluations than so many, for each factor of e.
_MANY, _PER_LOG = 20, 0.4
_FEW = 4


@dataclass(frozen=True, slots=True)
class OverfittingRule:
    """When validation counts as risen.

    At an evaluation, let v be the median of the last ``window`` validation values, v* the lowest
    such median so far, t and t* those of training (averaged between evaluations) at the same two
    places, and σ the noise of single validation values (``curve.noise``). The evaluation counts
    if v > v* + ``deviations`` · σ · √(π / window) and t < t*: two such medians differ by chance
    with a standard deviation of about σ · √(π / window). It is over-fitting when ``patience``
    evaluations in a row count, and there were ``least``. Where higher is better all is turned
    round.
    """

    patience: int = 3
    z: float = 4.5
    window: int = 5
    least: int = 8

    def deviations(self, n: int) -> float:
        """Return by how many standard deviations validation must have risen at the n-th evaluation.

        Where it stays level, the lowest of many medians is low by chance, the lower the more there
        are; of few evaluations the noise is not known well. Both by simulation.
        """
        more = _PER_LOG * math.log(n / _MANY) if n > _MANY else 0.0
        return (self.z + more) * (1 + _FEW / max(1, min(n, _NOISE_WINDOW) - 2))


@dataclass(slots=True)
class OverfittingTracker:
    """Follows the two metrics of one run, and tells the first time that the rule holds."""

    metric: str
    rule: OverfittingRule = field(default_factory=OverfittingRule)
    mode: Mode = "min"
    train_mode: Mode = "min"
    _train_sum: float = 0.0
    _train_count: int = 0
    _steps: list[int] = field(default_factory=list)
    _validation: list[float] = field(default_factory=list)
    _train: deque[float] = field(default_factory=deque)
    _best: tuple[float, float, int, float] | None = None
    _count: int = 0
    _rises: int = 0
    _is_told: bool = False

    @property
    def is_told(self) -> bool:
        """Whether it was told, and validation has not been as good as before since then."""
        return self._is_told

    def train(self, value: float) -> None:
        """Take a value of the training metric."""
        if math.isfinite(value):
            self._train_sum += value if self.train_mode == "min" else -value
            self._train_count += 1

    def validate(self, step: int, value: float) -> Finding | None:
        """Take a value of the validation metric; what is not finite is passed over."""
        if not math.isfinite(value):
            return None
        self._note(step, value if self.mode == "min" else -value)
        if self._count < self.rule.window:
            # The median of a few is often lower than any of all: nothing would be as good again.
            return None
        smooth, trained = median(self._validation[-self.rule.window :]), mean(list(self._train))
        if self._best is None or smooth <= self._best[0]:
            self._best = (smooth, trained, *self._lowest_of_window())
            self._rises, self._is_told = 0, False
            return None
        sigma = noise(self._validation[-_NOISE_WINDOW:])
        margin = self.rule.deviations(self._count) * sigma * math.sqrt(math.pi / self.rule.window)
        is_rise = smooth - self._best[0] > margin and trained < self._best[1]
        self._rises = self._rises + 1 if is_rise else 0
        is_enough = self._rises >= self.rule.patience and self._count >= self.rule.least
        if self._is_told or not is_enough:
            return None
        self._is_told = True
        return self._finding(step, smooth)

    def _note(self, step: int, value: float) -> None:
        trained = self._train_sum / self._train_count if self._train_count else math.nan
        self._train_sum, self._train_count = 0.0, 0
        self._count += 1
        self._steps.append(step)
        self._validation.append(value)
        self._train.append(trained)
        while len(self._train) > self.rule.window:
            self._train.popleft()
        # All that is asked for later is within the window of the noise.
        del self._validation[: -2 * _NOISE_WINDOW], self._steps[: -2 * _NOISE_WINDOW]

    def _lowest_of_window(self) -> tuple[int, float]:
        values, steps = self._validation[-self.rule.window :], self._steps[-self.rule.window :]
        lowest = min(range(len(values)), key=values.__getitem__)
        return steps[lowest], values[lowest]

    def _finding(self, step: int, smooth: float) -> Finding:
        assert self._best is not None
        _, _, since, lowest = self._best
        sign, verb = (1, "risen") if self.mode == "min" else (-1, "fallen")
        return Finding(
            "overfitting",
            self.metric,
            since,
            step,
            f"{self.metric} has {verb} from {sign * lowest:.4g} at step {since} to "
            f"{sign * smooth:.4g} (median of {self.rule.window}) at step {step}, while training "
            "gets better",
        )


def find_overfitting(
    train: Curve,
    validation: Curve,
    metric: str,
    rule: OverfittingRule | None = None,
    mode: Mode = "min",
    train_mode: Mode = "min",
) -> Finding | None:
    """Return where a run began to over-fit and has not got over it since, if so.

    Args:
        train: The metric on training data, at any steps.
        validation: The metric on validation data, at the steps of evaluations.
        metric: The name of the latter.
        rule: What counts.
        mode: Which way the validation metric is better.
        train_mode: Which way the training metric is better.
    """
    tracker = OverfittingTracker(metric, rule or OverfittingRule(), mode, train_mode)
    found: Finding | None = None
    at = 0
    for step, value in zip(validation.steps, validation.values, strict=True):
        while at < len(train) and train.steps[at] <= step:
            tracker.train(train.values[at])
            at += 1
        found = tracker.validate(step, value) or (found if tracker.is_told else None)
    return found
