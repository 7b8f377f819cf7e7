"""What a save policy decides on: the moment after a step, and what came before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment right after a training step.

    Attributes:
        step: The index of the step that has just finished; the first step of a run is 0.
        epoch: Epochs finished so far, whole or with a fraction; None where nobody counts them.
        metrics: What was measured at this step.
        time_s: A monotonic clock, in seconds; only differences mean something.
        signals: Numbers of the signals that arrived since the last moment.
        exception: Whether training is being left by an exception.
    """

    step: int
    epoch: float | None
    metrics: Mapping[str, float]
    time_s: float
    signals: tuple[int, ...] = ()
    exception: bool = False


@dataclass(frozen=True, slots=True)
class Costs:
    """What a save costs, as measured on the last ones of this process.

    Attributes:
        held_s: For how long the loop is held.
        slowed_s: By how much the steps are slowed in all while it is written.
        durable_s: From the end of the snapshot until it is durable.
    """

    held_s: float
    slowed_s: float = 0.0
    durable_s: float = 0.0

    @property
    def paid_s(self) -> float:
        """What training pays for one."""
        return self.held_s + self.slowed_s


@dataclass(frozen=True, slots=True)
class Failures:
    """How often a run has failed so far, and how long it was watched, in seconds."""

    count: int = 0
    watched_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Past:
    """What happened before a moment.

    Attributes:
        start_step: The step before the first one of this process; -1 where the run began here.
        start_epoch: Epochs finished when this process began; None where nobody counts them.
        start_time_s: When this process began to train, on the clock of ``Moment.time_s``.
        seen_step: The step of the moment before this one; ``start_step`` at the first.
        seen_epoch: The last epoch that was named; ``start_epoch`` or None before that.
        saved_step: The step saved last, None where none was.
        saved_time_s: When this process saved last, None where it has not.
        best: The best values so far, keyed by metric and mode: ``"val_loss:min"``.
        costs: What a save costs, once one has been measured; told to policies that adapt.
        failures: The failures of processes before this one; likewise.
        interval_s: The interval that a policy that adapts has come to; None before the first.
    """

    start_step: int
    start_epoch: float | None
    start_time_s: float
    seen_step: int
    seen_epoch: float | None
    saved_step: int | None
    saved_time_s: float | None
    best: Mapping[str, float]
    costs: Costs | None = None
    failures: Failures = Failures()
    interval_s: float | None = None
