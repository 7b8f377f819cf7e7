"""Rules of retention that look at order, metrics, steps and epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import final

from holdfast.policy.candidate import Candidate
from holdfast.policy.checks import Mode, counted
from holdfast.policy.keep_policy import KeepPolicy, Verdict, Verdicts
from holdfast.policy.ranking import has_value, rankable


@final
@dataclass(frozen=True, slots=True)
class KeepLast(KeepPolicy):
    """Keeps the checkpoints saved last."""

    n: int

    def judge(self, candidates: Sequence[Candidate], now: datetime) -> Verdicts:
        """Keep the last ``n``."""
        last = {c.id for c in candidates[-self.n :]}
        stays, goes = Verdict(True, f"last {self.n}"), Verdict(False, f"not of the last {self.n}")
        return {c.id: stays if c.id in last else goes for c in candidates}


@final
@dataclass(frozen=True, slots=True)
class KeepBest(KeepPolicy):
    """Keeps those with the best values; one that is missing or not finite never ranks.

    Nor does a checkpoint rank whose arrays have values that are not finite. Of equal values the
    earlier one ranks first, as it does in ``on.best``. Where no checkpoint has
    a finite value none can be told from the best, and all stay.
    """

    metric: str
    n: int
    mode: Mode

    def judge(self, candidates: Sequence[Candidate], now: datetime) -> Verdicts:
        """Keep the best ``n``, best first, named with value and rank."""
        ranked = sorted(
            rankable(candidates, self.metric),
            key=lambda c: c.metrics[self.metric] * (1 if self.mode == "min" else -1),
        )
        if not ranked:
            doubt = Verdict(True, f"in doubt: no checkpoint has a finite {self.metric}")
            return {c.id: doubt for c in candidates}
        places = {c.id: self._placed(c, rank) for rank, c in enumerate(ranked, start=1)}
        return places | {c.id: self._unranked(c) for c in candidates if c.id not in places}

    def _placed(self, candidate: Candidate, rank: int) -> Verdict:
        value = f"{self.metric} {candidate.metrics[self.metric]:.6g}"
        if rank <= self.n:
            return Verdict(True, f"best {value}, {rank} of {self.n}")
        return Verdict(False, f"{value} is number {rank}, {self.n} stay")

    def _unranked(self, candidate: Candidate) -> Verdict:
        if has_value(candidate, self.metric):
            return Verdict(False, "its arrays have values that are not finite")
        value = candidate.metrics.get(self.metric)
        return Verdict(False, f"{self.metric} {'missing' if value is None else f'is {value}'}")


@final
@dataclass(frozen=True, slots=True)
class KeepEverySteps(KeepPolicy):
    """Keeps the first checkpoint of each window of so many steps, counted from step 0."""

    steps: int

    def judge(self, candidates: Sequence[Candidate], now: datetime) -> Verdicts:
        """Keep the one with the lowest step in each window."""
        by_step = sorted(candidates, key=lambda c: c.step)
        return firsts(by_step, lambda c: c.step // self.steps, counted(self.steps, "steps"))


@final
@dataclass(frozen=True, slots=True)
class KeepEveryEpochs(KeepPolicy):
    """Keeps the first checkpoint of each window of so many epochs, counted from epoch 0.

    One whose epoch nobody counted stays: which window it is of cannot be told.
    """

    epochs: float

    def judge(self, candidates: Sequence[Candidate], now: datetime) -> Verdicts:
        """Keep the one with the lowest step in each window."""
        found = [(c, c.epoch) for c in candidates if c.epoch is not None and math.isfinite(c.epoch)]
        # Nine tenths and a tenth are a hair less than one.
        windows = {c.id: math.floor(epoch / self.epochs + 1e-9) for c, epoch in found}
        by_step = sorted((c for c, _ in found), key=lambda c: c.step)
        doubt = Verdict(True, "in doubt: its epoch is not known")
        return {
            **{c.id: doubt for c in candidates},
            **firsts(by_step, lambda c: windows[c.id], counted(self.epochs, "epochs")),
        }


@final
@dataclass(frozen=True, slots=True)
class KeepTagged(KeepPolicy):
    """Keeps nothing but what is always kept: the newest one and those with a tag."""

    def judge(self, candidates: Sequence[Candidate], now: datetime) -> Verdicts:
        """Keep nothing: tags are looked at before any policy is."""
        return {c.id: Verdict(False, "no tag") for c in candidates}


@final
@dataclass(frozen=True, slots=True)
class KeepAll(KeepPolicy):
    """Keeps every checkpoint that is not superseded."""

    def judge(self, candidates: Sequence[Candidate], now: datetime) -> Verdicts:
        """Keep all of them."""
        return {c.id: Verdict(True, "all") for c in candidates}


def firsts(
    ordered: Iterable[Candidate], window: Callable[[Candidate], object], what: str
) -> Mapping[str, Verdict]:
    """Return verdicts that keep the first candidate of each window.

    Args:
        ordered: The candidates, in the order in which one is before another.
        window: Which window one is of.
        what: The rule in words, for the reasons.
    """
    first: dict[object, Candidate] = {}
    verdicts = {}
    for candidate in ordered:
        before = first.setdefault(window(candidate), candidate)
        is_first = before is candidate
        why = what if is_first else f"{what}: after step {before.step}"
        verdicts[candidate.id] = Verdict(is_first, why)
    return verdicts
