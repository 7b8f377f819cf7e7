"""When to save: policies that look at a moment and its past and give reasons to save.

``every(...)`` counts steps, epochs or time; ``on`` has the events. They combine with ``|``::

    every(steps=500) | every(minutes=10) | on.signal() | on.best("val_loss")

A policy never acts. What somebody has to do for it - listen for signals, keep best values -
is told by ``signals``, ``wants_exception`` and ``best_metrics``, summed up over a union.
"""

from __future__ import annotations

import math
import signal as _signal
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, final

from holdfast.errors import UsageError
from holdfast.format.names import check_tag
from holdfast.policy.checks import (
    Mode,
    checked_metric,
    checked_mode,
    counted,
    exactly_one,
    is_better,
    positive_int,
    positive_number,
)
from holdfast.policy.moment import Moment, Past

Then = Literal["exit", "continue"]
_SECONDS = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0}
# 0.3 / 0.1 is just below 3: a boundary reached by sums of fractions counts as reached.
_EPOCH_TOLERANCE = 1e-9


class SavePolicy(ABC):
    """A rule that says when a checkpoint is due."""

    __slots__ = ()

    @abstractmethod
    def due(self, now: Moment, past: Past) -> tuple[str, ...]:
        """Return the reasons to save at this moment, none if there is none."""

    def versions(self, now: Moment, past: Past) -> tuple[str, ...]:
        """Return the sequences of names from which a checkpoint of this moment gets the next."""
        return ()

    @property
    def signals(self) -> Mapping[int, Then]:
        """The signals to listen for, and what is to happen after the save."""
        return {}

    @property
    def wants_exception(self) -> bool:
        """Whether a checkpoint is wanted when an exception ends training."""
        return False

    @property
    def best_metrics(self) -> tuple[tuple[str, Mode], ...]:
        """The metrics whose best value so far must be kept, each with its mode."""
        return ()

    def interval_s(self, now: Moment, past: Past) -> float | None:
        """Return the interval that it has come to if it adapts, else None."""
        return None

    @property
    def is_adaptive(self) -> bool:
        """Whether it wants to know what saves cost and how often the run has failed."""
        return False

    @property
    def is_same_for_all(self) -> bool:
        """Whether all processes of a training see the same steps due, without a word."""
        return False

    @final
    def __or__(self, other: SavePolicy) -> SavePolicy:
        if not isinstance(other, SavePolicy):
            return NotImplemented
        return AnyOf((*_members(self), *_members(other)))


def _members(policy: SavePolicy) -> tuple[SavePolicy, ...]:
    return policy.policies if isinstance(policy, AnyOf) else (policy,)


@final
@dataclass(frozen=True, slots=True)
class AnyOf(SavePolicy):
    """Due when one of its members is; the reasons of all of them are given."""

    policies: tuple[SavePolicy, ...]

    def due(self, now: Moment, past: Past) -> tuple[str, ...]:
        """Return the reasons of all members, each once."""
        return tuple(dict.fromkeys(r for p in self.policies for r in p.due(now, past)))

    def interval_s(self, now: Moment, past: Past) -> float | None:
        """Return that of the first member that adapts."""
        found = (policy.interval_s(now, past) for policy in self.policies)
        return next((interval_s for interval_s in found if interval_s is not None), None)

    @property
    def is_same_for_all(self) -> bool:
        """Whether all processes of a training see the same steps due, without a word."""
        return all(member.is_same_for_all for member in self.policies)

    @property
    def is_adaptive(self) -> bool:
        """Whether a member is."""
        return any(policy.is_adaptive for policy in self.policies)

    def versions(self, now: Moment, past: Past) -> tuple[str, ...]:
        """Return the sequences of all members, each once."""
        return tuple(dict.fromkeys(v for p in self.policies for v in p.versions(now, past)))

    @property
    def signals(self) -> Mapping[int, Then]:
        """The signals of all members; where two disagree, "exit" wins."""
        merged: dict[int, Then] = {}
        for policy in self.policies:
            for number, then in policy.signals.items():
                merged[number] = "exit" if merged.get(number) == "exit" else then
        return merged

    @property
    def wants_exception(self) -> bool:
        """Whether a member wants it."""
        return any(policy.wants_exception for policy in self.policies)

    @property
    def best_metrics(self) -> tuple[tuple[str, Mode], ...]:
        """The metrics of all members, each once."""
        return tuple(dict.fromkeys(m for policy in self.policies for m in policy.best_metrics))


@final
@dataclass(frozen=True, slots=True)
class EverySteps(SavePolicy):
    """Due when ``step // steps`` rises above that of the step seen before; at step 0 if every is.

    So it does not miss a boundary when the loop calls only now and then.
    """

    steps: int

    @property
    def is_same_for_all(self) -> bool:
        """Whether all processes of a training see the same steps due, without a word."""
        return True

    def due(self, now: Moment, past: Past) -> tuple[str, ...]:
        """Return the reason if a multiple of ``steps`` was reached since the step before."""
        seen = past.seen_step if self.steps == 1 else max(past.seen_step, 0)
        return (
            (counted(self.steps, "steps"),) if now.step // self.steps > seen // self.steps else ()
        )


@final
@dataclass(frozen=True, slots=True)
class EveryEpochs(SavePolicy):
    """Due when the number of finished epochs passes a multiple of ``epochs``.

    Where the run went on from a checkpoint and its epoch is not known, counting begins at 0:
    one save too many rather than one too few.
    """

    epochs: float

    @property
    def is_same_for_all(self) -> bool:
        """Whether all processes of a training see the same steps due, without a word."""
        return True

    def due(self, now: Moment, past: Past) -> tuple[str, ...]:
        """Return the reason if a multiple of ``epochs`` was reached since the last one named."""
        if now.epoch is None:
            return ()
        known = (e for e in (past.seen_epoch, past.start_epoch) if e is not None)
        rises = self._windows(now.epoch) > self._windows(next(known, 0.0))
        return (counted(self.epochs, "epochs"),) if rises else ()

    def _windows(self, epoch: float) -> int:
        return math.floor(epoch / self.epochs + _EPOCH_TOLERANCE)


@final
@dataclass(frozen=True, slots=True)
class EveryTime(SavePolicy):
    """Due when that much time has passed since the last save, or since training began."""

    amount: float
    unit: str

    def due(self, now: Moment, past: Past) -> tuple[str, ...]:
        """Return the reason if the time is up."""
        since_s = past.start_time_s if past.saved_time_s is None else past.saved_time_s
        is_up = now.time_s - since_s >= self.amount * _SECONDS[self.unit]
        return (counted(self.amount, self.unit),) if is_up else ()


@final
@dataclass(frozen=True, slots=True)
class OnSignal(SavePolicy):
    """Due when one of the signals has arrived."""

    numbers: tuple[int, ...]
    then: Then

    def due(self, now: Moment, past: Past) -> tuple[str, ...]:
        """Return a reason for each of the signals that has arrived."""
        arrived = dict.fromkeys(number for number in now.signals if number in self.numbers)
        return tuple(f"signal {_signal_name(number)}" for number in arrived)

    @property
    def signals(self) -> Mapping[int, Then]:
        """The signals, and what is to happen after the save."""
        return dict.fromkeys(self.numbers, self.then)


@final
@dataclass(frozen=True, slots=True)
class OnException(SavePolicy):
    """Due when training is left by an exception."""

    def due(self, now: Moment, past: Past) -> tuple[str, ...]:
        """Return the reason if there is an exception."""
        return ("exception",) if now.exception else ()

    @property
    def wants_exception(self) -> bool:
        """Always."""
        return True


@final
@dataclass(frozen=True, slots=True)
class OnBest(SavePolicy):
    """Due when the metric is there, finite and strictly better than ever before."""

    metric: str
    mode: Mode
    name: str | None = None

    def due(self, now: Moment, past: Past) -> tuple[str, ...]:
        """Return the reason if the metric has a new best value."""
        value = now.metrics.get(self.metric, math.nan)
        best = past.best.get(best_key(self.metric, self.mode), _worst(self.mode))
        return (f"best {self.metric} {value:.6g}",) if is_better(value, best, self.mode) else ()

    def versions(self, now: Moment, past: Past) -> tuple[str, ...]:
        """Return its sequence of names, if it has one, when it is due."""
        return (self.name,) if self.name is not None and self.due(now, past) else ()

    @property
    def best_metrics(self) -> tuple[tuple[str, Mode], ...]:
        """The metric and its mode."""
        return ((self.metric, self.mode),)


def every(
    *,
    steps: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    hours: float | None = None,
    seconds: float | None = None,
) -> SavePolicy:
    """Return a policy that saves again and again; give exactly one of the amounts.

    Args:
        steps: Save after each step that is a multiple of it. The step is the index that
            ``ckpt.step`` is given after that step has finished, so ``every(steps=500)`` saves
            after the steps 500, 1000, 1500, and not after step 0. ``every(steps=1)`` saves after
            each, step 0 included.
        epochs: Save when that many more epochs have finished; needs ``ckpt.step(epoch=…)``.
        minutes: Save when that much time has passed since the last save, or since the start.
        hours: The same in hours.
        seconds: The same in seconds.

    Raises:
        UsageError: None or several are given, or the amount is not above zero.
    """
    unit, amount = exactly_one(
        "every", steps=steps, epochs=epochs, minutes=minutes, hours=hours, seconds=seconds
    )
    if unit == "steps":
        return EverySteps(positive_int("every(steps=…)", amount))
    number = positive_number(f"every({unit}=…)", amount)
    if unit == "epochs":
        return EveryEpochs(number)
    return EveryTime(number, unit)


class on:  # noqa: N801 - reads as a word: save=on.signal() | on.exception()
    """Save when something happens."""

    @staticmethod
    def signal(*signals: int, then: Then = "exit") -> SavePolicy:
        """Return a policy that saves when one of the signals arrives; SIGTERM if none is named.

        Args:
            *signals: Signal numbers, such as ``signal.SIGUSR1``.
            then: "exit": the checkpoint is durable, then training is left with
                ``SystemExit(128 + number)``; "continue": training goes on.

        Raises:
            UsageError: A signal does not exist or cannot be caught, or ``then`` is neither.
        """
        if then not in ("exit", "continue"):
            raise UsageError(f"then is 'exit' or 'continue', not {then!r}.", then=then)
        wanted = signals or (_signal.SIGTERM,)
        return OnSignal(tuple(dict.fromkeys(_checked_signal(s) for s in wanted)), then)

    @staticmethod
    def exception() -> SavePolicy:
        """Return a policy that saves when an exception ends training."""
        return OnException()

    @staticmethod
    def best(metric: str, mode: Mode = "min", name: str | None = None) -> SavePolicy:
        """Return a policy that saves when the metric is better than ever; NaN never is.

        Args:
            metric: The metric.
            mode: Whether lower (``min``) or higher (``max``) is better.
            name: Each checkpoint saved for this is given the next name of this sequence for good:
                ``NAME_v1``, ``NAME_v2`` and so on.

        Raises:
            UsageError: One of them cannot be; ``InvalidName`` for a name that no tag may have.
        """
        if name is not None:
            check_tag(name)
            check_tag(f"{name}_v{10**9}")
        return OnBest(checked_metric(metric), checked_mode(mode), name)


def best_key(metric: str, mode: Mode) -> str:
    """Return the key under which a best value is kept in ``Past.best``."""
    return f"{metric}:{mode}"


def updated_best(
    past_best: Mapping[str, float],
    metrics: Mapping[str, float],
    best_metrics: Iterable[tuple[str, Mode]],
) -> dict[str, float]:
    """Return the best values after these metrics; the past ones are left as they are.

    >>> updated_best({"loss:min": 2.0}, {"loss": 1.0, "acc": 0.5}, [("loss", "min")])
    {'loss:min': 1.0}
    """
    best = dict(past_best)
    for metric, mode in best_metrics:
        value, key = metrics.get(metric, math.nan), best_key(metric, mode)
        if is_better(value, best.get(key, _worst(mode)), mode):
            best[key] = value
    return best


def _worst(mode: Mode) -> float:
    return math.inf if mode == "min" else -math.inf


def _signal_name(number: int) -> str:
    try:
        return _signal.Signals(number).name
    except ValueError:  # real-time signals have no name of their own
        return str(number)


def _checked_signal(number: object) -> int:
    valid = {int(s) for s in _signal.valid_signals()}
    if isinstance(number, bool) or not isinstance(number, int) or number not in valid:
        raise UsageError(f"{number!r} is no signal here; use those of the signal module.")
    # By name: not every platform has them.
    if number in {getattr(_signal, name, None) for name in ("SIGKILL", "SIGSTOP")}:
        raise UsageError(f"{_signal_name(number)} cannot be caught by any process.", signal=number)
    return int(number)
