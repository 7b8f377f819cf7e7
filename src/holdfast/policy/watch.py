"""What to watch a run for: ``watch.overfitting(...)``, ``watch.divergence(...)``, with ``|``.

    watch.overfitting("loss", "val_loss") | watch.divergence("loss")

A watch is a frozen value. ``start`` gives trackers, which follow the metrics of one run from
there on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, final

from holdfast.errors import UsageError
from holdfast.policy.checks import Mode, checked_metric, checked_mode, positive_int, positive_number
from holdfast.policy.divergence import DivergenceRule, DivergenceTracker
from holdfast.policy.finding import Finding
from holdfast.policy.overfitting import OverfittingRule, OverfittingTracker


class Tracker(Protocol):
    """Follows the metrics of one run."""

    @property
    def names(self) -> Sequence[str]:
        """The metrics that it looks at."""
        ...

    @property
    def memory(self) -> int:
        """How many logged values of the past are worth telling it when a run goes on."""
        ...

    def due(self, metrics: Mapping[str, object]) -> Sequence[str]:
        """Return the names of the metrics that it wants to be read at this step."""
        ...

    def take(self, step: int, values: Mapping[str, float]) -> Finding | None:
        """Take what was read; tells when something goes wrong."""
        ...


class WatchPolicy(ABC):
    """Something to watch a run for."""

    __slots__ = ()

    @abstractmethod
    def start(self) -> list[Tracker]:
        """Return trackers that have seen nothing yet."""

    @property
    @abstractmethod
    def goal(self) -> tuple[tuple[str, Mode], ...]:
        """The metrics by which to go back, each with which way is better; the first counts."""

    @final
    def __or__(self, other: WatchPolicy) -> WatchPolicy:
        if not isinstance(other, WatchPolicy):
            return NotImplemented
        return AllOf((*_members(self), *_members(other)))


def _members(policy: WatchPolicy) -> tuple[WatchPolicy, ...]:
    return policy.policies if isinstance(policy, AllOf) else (policy,)


@final
@dataclass(frozen=True, slots=True)
class AllOf(WatchPolicy):
    """Watches for all that its members do."""

    policies: tuple[WatchPolicy, ...]

    def start(self) -> list[Tracker]:
        """Return the trackers of all members."""
        return [tracker for policy in self.policies for tracker in policy.start()]

    @property
    def goal(self) -> tuple[tuple[str, Mode], ...]:
        """Those of all members, in order."""
        return tuple(goal for policy in self.policies for goal in policy.goal)


@final
@dataclass(frozen=True, slots=True)
class Overfitting(WatchPolicy):
    """Validation that gets worse while training gets better; see ``OverfittingRule``."""

    train: str
    validation: str
    mode: Mode = "min"
    train_mode: Mode = "min"
    rule: OverfittingRule = field(default_factory=OverfittingRule)

    def start(self) -> list[Tracker]:
        """Return one tracker."""
        tracker = OverfittingTracker(self.validation, self.rule, self.mode, self.train_mode)
        return [_Pair(self, tracker)]

    @property
    def goal(self) -> tuple[tuple[str, Mode], ...]:
        """The validation metric."""
        return ((self.validation, self.mode),)


@dataclass(slots=True)
class _Pair:
    policy: Overfitting
    tracker: OverfittingTracker

    @property
    def names(self) -> Sequence[str]:
        return self.policy.train, self.policy.validation

    @property
    def memory(self) -> int:
        # The best evaluation may be long ago; a value takes a microsecond or two.
        return 200_000

    def due(self, metrics: Mapping[str, object]) -> Sequence[str]:
        return [name for name in self.names if name in metrics]

    def take(self, step: int, values: Mapping[str, float]) -> Finding | None:
        if self.policy.train in values:
            self.tracker.train(values[self.policy.train])
        if self.policy.validation not in values:
            return None
        return self.tracker.validate(step, values[self.policy.validation])


@final
@dataclass(frozen=True, slots=True)
class Divergence(WatchPolicy):
    """A metric that is no number, jumps and stays up, or climbs; see ``DivergenceRule``."""

    metric: str
    mode: Mode = "min"
    every: int = 1
    rule: DivergenceRule = field(default_factory=DivergenceRule)

    def start(self) -> list[Tracker]:
        """Return one tracker."""
        return [_Single(self, DivergenceTracker(self.metric, self.rule, self.mode))]

    @property
    def goal(self) -> tuple[tuple[str, Mode], ...]:
        """The metric."""
        return ((self.metric, self.mode),)


@dataclass(slots=True)
class _Single:
    policy: Divergence
    tracker: DivergenceTracker
    seen: int = 0

    @property
    def names(self) -> Sequence[str]:
        return (self.policy.metric,)

    @property
    def memory(self) -> int:
        # Jumps are seen within a window; what a climb began from may be long ago.
        return min(10_000 * self.policy.every, 200_000)

    def due(self, metrics: Mapping[str, object]) -> Sequence[str]:
        if self.policy.metric not in metrics:
            return ()
        self.seen += 1
        return () if self.seen % self.policy.every else (self.policy.metric,)

    def take(self, step: int, values: Mapping[str, float]) -> Finding | None:
        if self.policy.metric not in values:
            return None
        return self.tracker.add(step, values[self.policy.metric])


def overfitting(
    train: str,
    validation: str,
    *,
    mode: Mode = "min",
    train_mode: Mode = "min",
    patience: int = 3,
    z: float = 4.5,
) -> WatchPolicy:
    """Watch for validation that gets worse, by more than noise, while training gets better.

    Args:
        train: Name of the metric on training data, logged as often as you like.
        validation: Name of the metric on validation data.
        mode: Which way validation is better: ``min`` (lower) or ``max``.
        train_mode: Which way training is better.
        patience: Evaluations in a row that must be worse.
        z: How many standard deviations of the noise worse; somewhat more where there were few
            evaluations or very many, see ``OverfittingRule``.
    """
    rule = OverfittingRule(positive_int("patience", patience), positive_number("z", z))
    names = checked_metric(train), checked_metric(validation)
    if names[0] == names[1]:
        raise UsageError(f"overfitting() compares two metrics; both are {train!r}.", metric=train)
    return Overfitting(*names, checked_mode(mode), checked_mode(train_mode), rule)


def divergence(
    metric: str, *, mode: Mode = "min", every: int = 1, patience: int = 3, z: float = 8.0
) -> WatchPolicy:
    """Watch for a metric that becomes NaN or infinite, jumps and stays up, or climbs above all.

    Args:
        metric: Its name.
        mode: Which way it is better: ``min`` (lower) or ``max``.
        every: Read one of so many values. A value on a device is waited for when it is read.
        patience: Values in a row that must be worse.
        z: How many robust standard deviations worse.
    """
    rule = DivergenceRule(positive_int("patience", patience), positive_number("z", z))
    return Divergence(
        checked_metric(metric), checked_mode(mode), positive_int("every", every), rule
    )
