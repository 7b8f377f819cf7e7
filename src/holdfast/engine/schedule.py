"""A save policy at work: what it has seen so far, and whether a save is due now."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from holdfast.distributed.ranks import Ranks
from holdfast.engine.due import Due
from holdfast.engine.tiers.kinds import HOME, MEMORY
from holdfast.engine.together import Together
from holdfast.errors import UsageError
from holdfast.policy.moment import Costs, Failures, Moment, Past
from holdfast.policy.when import SavePolicy, updated_best
from holdfast.records import commits
from holdfast.state.numbers import check_epoch, clean_metrics
from holdfast.store.contract import ObjectStore

NO_TIERS: Mapping[str, SavePolicy | None] = {}


class Schedule:
    """Asks a policy at every step, and remembers what the policy wants to know of the past.

    Attributes:
        measure: Tells what a save costs; asked only for policies that adapt.
        failures: Those of processes before this one.
        epoch: The last number of epochs that was named; None before that.

    Args:
        policy: When to save at home.
        store: The run's own store.
        run: The run.
        not_finite: Steps whose checkpoints are not finite.
        tiers: When to save in other tiers, by name.
    """

    def __init__(
        self,
        policy: SavePolicy | None,
        store: ObjectStore,
        run: str,
        not_finite: Callable[[], frozenset[int]] = frozenset,
        ranks: Ranks | None = None,
        tiers: Mapping[str, SavePolicy | None] = NO_TIERS,
    ) -> None:
        self.policy = policy
        self._of_tiers = {
            name: Schedule(wanted, store, run, not_finite) for name, wanted in tiers.items()
        }
        # Where several ranks save what is not due for all of them by itself.
        self._together: Together | None = None
        if ranks is not None and policy is not None and not policy.is_same_for_all:
            self._together = Together(ranks, policy)
        self._not_finite = not_finite
        self._store, self._run = store, run
        self._past: Past | None = None
        # Best values by the time training began, and what steps since then have bettered.
        self._first_best: Mapping[str, float] = {}
        self._bettered: list[tuple[int, Mapping[str, float]]] = []
        self._best: Mapping[str, float] = {}
        self._start_step = -1
        self.saved_step: int | None = None
        self._saved_s: float | None = None
        self.measure: Callable[[], Costs | None] = lambda: None
        self.failures = Failures()
        self._interval_s: float | None = None
        self.epoch: float | None = None

    @property
    def is_adaptive(self) -> bool:
        """Whether the policy wants to know costs and failures."""
        return self.policy is not None and self.policy.is_adaptive

    @property
    def signals(self) -> Mapping[int, str]:
        """The signals that the policy watches, and what follows each: ``exit`` or ``continue``."""
        return self.policy.signals if self.policy is not None else {}

    @property
    def wants_exception(self) -> bool:
        """Whether an exception that ends training is a reason to save."""
        return self.policy is not None and self.policy.wants_exception

    @property
    def saves_last_step(self) -> bool:
        """Whether an interrupted step is a reason to save the one before it.

        Several ranks are never interrupted at the same step, so that they could not save it.
        """
        return self._together is None and (self.wants_exception or bool(self.signals))

    def close(self) -> None:
        """End what was begun to agree with other ranks."""
        if self._together is not None:
            self._together.close()

    def restart(self, restored_step: int) -> None:
        """Begin anew after a restore."""
        if self._together is not None:
            self._together.begin()
        self._past = self.epoch = None
        self._start_step = self.saved_step = restored_step
        for schedule in self._of_tiers.values():
            schedule.restart(restored_step)

    def note_save(self, step: int, tiers: Collection[str] = (HOME,)) -> None:
        """Note that step was saved just now, and where."""
        # What was saved anywhere is there when the next step is interrupted.
        self.saved_step = step
        if HOME in tiers:
            self._saved_s = time.monotonic()
        for name, schedule in self._of_tiers.items():
            if name in tiers or name == MEMORY:
                schedule.note_save(step)

    def destinations(self, due: Due, *, is_for_all: bool) -> tuple[str, ...]:
        """Return where a checkpoint goes, besides into memory.

        Args:
            due: Why it is saved. What a far tier asks for goes home too: it is copied from there.
            is_for_all: It goes to every tier.
        """
        far = [name for name in self._of_tiers if name != MEMORY]
        wanted = far if is_for_all else [name for name in far if name in due.tiers]
        if not (is_for_all or wanted or HOME in due.tiers):
            return ()
        more = (name for name in far if self._of_tiers[name].policy is None)
        return (HOME, *dict.fromkeys((*wanted, *more)))

    def due(
        self,
        step: int,
        metrics: Mapping[str, Any] | None,
        epoch: float | None,
        now_s: float,
        signals: tuple[int, ...],
    ) -> Due:
        """Return whether and why to save at a step that has just been finished.

        Raises:
            UsageError: The metrics are none, or the epoch is no number.
        """
        _check(metrics)
        epoch = check_epoch(epoch)
        due = self._own_due(step, metrics, epoch, now_s, signals)
        asked = {
            name: found.reason
            for name, schedule in self._of_tiers.items()
            if (found := schedule.due(step, metrics, epoch, now_s, ())).reason
        }
        if not asked:
            return due
        reasons = [f"{name}: {reason}" for name, reason in asked.items()]
        if not due.reason:
            return replace(due, reason=", ".join(reasons), tiers=tuple(asked))
        return replace(due, reason=", ".join([due.reason, *reasons]), tiers=(HOME, *asked))

    def _own_due(
        self,
        step: int,
        metrics: Mapping[str, Any] | None,
        epoch: float | None,
        now_s: float,
        signals: tuple[int, ...],
    ) -> Due:
        if epoch is not None and math.isfinite(epoch):
            self.epoch = epoch
        if self.policy is None:
            return Due(signals=signals)
        watched = {name for name, _ in self.policy.best_metrics}
        # Only what the policy looks at: reading a metric may mean waiting for a device.
        numbers = clean_metrics({k: v for k, v in (metrics or {}).items() if k in watched})
        self._forget_not_finite()
        past = self._past_before(now_s)
        now = Moment(step, epoch, numbers, now_s, signals)
        if self._together is not None:
            due = self._together.due(now, past)
        else:
            reason = ", ".join(self.policy.due(now, past))
            due = Due(reason, self.policy.versions(now, past), signals)
        if self.is_adaptive:
            self._interval_s = self.policy.interval_s(now, past)
        self._note_best(step, numbers)
        seen_epoch = epoch if epoch is not None else past.seen_epoch
        self._past = self._remember(past, seen_step=step, seen_epoch=seen_epoch)
        return due

    def _note_best(self, step: int, numbers: Mapping[str, float]) -> None:
        assert self.policy is not None
        best = updated_best(self._best, numbers, self.policy.best_metrics)
        if best != self._best:
            self._best = best
            self._bettered.append((step, numbers))

    def _forget_not_finite(self) -> None:
        """Let values not count that went with checkpoints which turned out not to be finite."""
        steps = self._not_finite() if self._bettered else frozenset()
        if self.policy is None or all(step not in steps for step, _ in self._bettered):
            return
        self._bettered = [(step, numbers) for step, numbers in self._bettered if step not in steps]
        self._best = self._first_best
        for _, numbers in self._bettered:
            self._best = updated_best(self._best, numbers, self.policy.best_metrics)

    def _past_before(self, now_s: float) -> Past:
        if self._past is not None:
            return self._remember(self._past, self._past.seen_step, self._past.seen_epoch)
        self._best = self._first_best = self._best_so_far()
        self._bettered = []
        start = self._start_step
        first = Past(start, None, now_s, start, None, self.saved_step, self._saved_s, self._best)
        return self._remember(first, start, None)

    def _remember(self, past: Past, seen_step: int, seen_epoch: float | None) -> Past:
        return Past(
            start_step=past.start_step,
            start_epoch=past.start_epoch,
            start_time_s=past.start_time_s,
            seen_step=seen_step,
            seen_epoch=seen_epoch,
            saved_step=self.saved_step,
            saved_time_s=self._saved_s,
            best=self._best,
            costs=self.measure() if self.is_adaptive else None,
            failures=self.failures,
            interval_s=self._interval_s,
        )

    def _best_so_far(self) -> Mapping[str, float]:
        best: Mapping[str, float] = {}
        if self.policy is not None and self.policy.best_metrics:
            records = commits.good_commits(self._store, self._run)
            for record in (record for record in records if not record.not_finite):
                best = updated_best(best, record.metrics, self.policy.best_metrics)
        return best


def _check(metrics: object) -> None:
    if metrics is not None and not isinstance(metrics, Mapping):
        raise UsageError(f"metrics= takes a dict of numbers, not a {type(metrics).__name__}.")
