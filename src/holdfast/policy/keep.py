"""What to keep: retention policies, and the plan that they make for a run's checkpoints.

The rules, in this order:

1. The newest checkpoint (highest ``seq``) is always kept.
2. A checkpoint with a tag is always kept.
3. Where one step was saved several times, only the latest of them counts, and those with a tag;
   the others are superseded and go.
4. Of the rest, whatever one of the policies wants is kept.

The same checkpoints and the same policy always give the same plan.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar, final

from holdfast.policy.checks import (
    Mode,
    checked_metric,
    checked_mode,
    counted,
    exactly_one,
    positive_int,
    positive_number,
)
from holdfast.policy.ranking import rankable

_SECONDS = {"hours": 3600.0, "days": 86400.0}


class Candidate(Protocol):
    """What retention needs to know of a checkpoint; ``created`` is aware of its time zone."""

    @property
    def id(self) -> str:
        """Unique id."""

    @property
    def step(self) -> int:
        """The step it was saved after."""

    @property
    def seq(self) -> int:
        """Its number in the order of saving."""

    @property
    def created(self) -> datetime:
        """When it was saved."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """What was measured at its step."""

    @property
    def tags(self) -> Sequence[str]:
        """The names it was given."""

    @property
    def not_finite(self) -> int | None:
        """Elements of its arrays that are NaN or infinite; None where nobody looked."""


C = TypeVar("C", bound=Candidate)
Reasons = dict[str, list[str]]


class KeepPolicy(ABC):
    """A rule that says which checkpoints are worth keeping."""

    __slots__ = ()

    @abstractmethod
    def wanted(self, candidates: Sequence[Candidate]) -> Mapping[str, str]:
        """Return the reason for each id that the policy keeps.

        Args:
            candidates: One for each step, in the order of ``seq``.
        """

    @final
    def __or__(self, other: KeepPolicy) -> KeepPolicy:
        if not isinstance(other, KeepPolicy):
            return NotImplemented
        return KeepAny((*members(self), *members(other)))


@final
@dataclass(frozen=True, slots=True)
class KeepAny(KeepPolicy):
    """Keeps what one of its members keeps."""

    policies: tuple[KeepPolicy, ...]

    def wanted(self, candidates: Sequence[Candidate]) -> Mapping[str, str]:
        """Return what the members want, with the first one's reason."""
        merged: dict[str, str] = {}
        for policy in self.policies:
            merged = {**policy.wanted(candidates), **merged}
        return merged


def members(policy: KeepPolicy) -> tuple[KeepPolicy, ...]:
    """Return the single policies that a policy consists of."""
    return policy.policies if isinstance(policy, KeepAny) else (policy,)


@final
@dataclass(frozen=True, slots=True)
class KeepLast(KeepPolicy):
    """Keeps the checkpoints saved last."""

    n: int

    def wanted(self, candidates: Sequence[Candidate]) -> Mapping[str, str]:
        """Return the last ``n``."""
        return {c.id: f"last {self.n}" for c in candidates[-self.n :]}


@final
@dataclass(frozen=True, slots=True)
class KeepBest(KeepPolicy):
    """Keeps those with the best values; one that is missing or not finite never ranks.

    Nor does a checkpoint rank whose arrays have values that are not finite. Of equal values the
    earlier one ranks first, as it does in ``on.best``.
    """

    metric: str
    n: int
    mode: Mode

    def wanted(self, candidates: Sequence[Candidate]) -> Mapping[str, str]:
        """Return the best ``n``, named with value and rank."""
        ranked = sorted(
            rankable(candidates, self.metric),
            key=lambda c: c.metrics[self.metric] * (1 if self.mode == "min" else -1),
        )
        return {
            c.id: f"best {self.metric} {c.metrics[self.metric]:.6g}, {rank} of {self.n}"
            for rank, c in enumerate(ranked[: self.n], start=1)
        }


@final
@dataclass(frozen=True, slots=True)
class KeepEverySteps(KeepPolicy):
    """Keeps the first checkpoint of each window of so many steps, counted from step 0."""

    steps: int

    def wanted(self, candidates: Sequence[Candidate]) -> Mapping[str, str]:
        """Return the one with the lowest step in each window."""
        by_step = sorted(candidates, key=lambda c: c.step)
        firsts = _firsts(by_step, lambda c: c.step // self.steps)
        return {c.id: counted(self.steps, "steps") for c in firsts}


@final
@dataclass(frozen=True, slots=True)
class KeepEveryTime(KeepPolicy):
    """Keeps the first checkpoint of each window of time, counted from 1970-01-01 in UTC."""

    amount: float
    unit: str

    def wanted(self, candidates: Sequence[Candidate]) -> Mapping[str, str]:
        """Return the one that was saved first in each window."""
        window_s = self.amount * _SECONDS[self.unit]
        by_time = sorted(candidates, key=lambda c: (c.created, c.seq))
        firsts = _firsts(by_time, lambda c: math.floor(c.created.timestamp() / window_s))
        return {c.id: counted(self.amount, self.unit) for c in firsts}


@final
@dataclass(frozen=True, slots=True)
class KeepTagged(KeepPolicy):
    """Keeps nothing but what is always kept: the newest one and those with a tag."""

    def wanted(self, candidates: Sequence[Candidate]) -> Mapping[str, str]:
        """Return nothing: tags are looked at before any policy is."""
        return {}


@final
@dataclass(frozen=True, slots=True)
class KeepAll(KeepPolicy):
    """Keeps every checkpoint that is not superseded."""

    def wanted(self, candidates: Sequence[Candidate]) -> Mapping[str, str]:
        """Return all of them."""
        return {c.id: "all" for c in candidates}


def _firsts(
    ordered: Iterable[Candidate], window: Callable[[Candidate], int]
) -> Iterable[Candidate]:
    found: dict[int, Candidate] = {}
    for candidate in ordered:
        found.setdefault(window(candidate), candidate)
    return found.values()


class keep:  # noqa: N801 - reads as a word: keep=keep.last(3) | keep.best("val_loss")
    """What to keep; the newest checkpoint and tagged ones are kept whatever is said."""

    @staticmethod
    def last(n: int) -> KeepPolicy:
        """Keep the ``n`` checkpoints saved last."""
        return KeepLast(positive_int("keep.last(n)", n))

    @staticmethod
    def best(metric: str, n: int = 1, mode: Mode = "min") -> KeepPolicy:
        """Keep the ``n`` with the best value of a metric."""
        return KeepBest(
            checked_metric(metric), positive_int("keep.best(n=…)", n), checked_mode(mode)
        )

    @staticmethod
    def every(
        *, steps: int | None = None, hours: float | None = None, days: float | None = None
    ) -> KeepPolicy:
        """Keep the first of each window of steps or time; give exactly one of the amounts.

        Args:
            steps: Windows of that many steps, counted from step 0.
            hours: Windows of that many hours, counted from 1970-01-01 in UTC.
            days: The same in days.

        Raises:
            UsageError: None or several are given, or the amount is not above zero.
        """
        unit, amount = exactly_one("keep.every", steps=steps, hours=hours, days=days)
        if unit == "steps":
            return KeepEverySteps(positive_int("keep.every(steps=…)", amount))
        return KeepEveryTime(positive_number(f"keep.every({unit}=…)", amount), unit)

    @staticmethod
    def tagged() -> KeepPolicy:
        """Keep only what is always kept: the newest one and those with a tag."""
        return KeepTagged()

    @staticmethod
    def all() -> KeepPolicy:
        """Keep everything, but for older saves of a step that was saved again."""
        return KeepAll()


@dataclass(frozen=True, slots=True)
class Retention(Generic[C]):
    """A plan of what stays and what goes; both in the order of saving.

    Attributes:
        kept: Each checkpoint that stays, with every reason for it.
        removed: Each checkpoint that goes, with the reason.
    """

    kept: tuple[tuple[C, tuple[str, ...]], ...]
    removed: tuple[tuple[C, str], ...]


def plan_retention(checkpoints: Sequence[C], policy: KeepPolicy) -> Retention[C]:
    """Return which of a run's checkpoints stay and which go.

    Args:
        checkpoints: All of the run's committed checkpoints, in any order.
        policy: What is worth keeping.

    Returns:
        The plan; together its two halves hold each checkpoint exactly once.
    """
    ordered = sorted(checkpoints, key=lambda c: c.seq)
    # Later saves of a step overwrite earlier ones here.
    latest = {c.step: c for c in ordered}
    # One with a tag stays, so it ranks: else it would begin to once the later save has gone.
    current = [c for c in ordered if c.tags or latest[c.step].id == c.id]
    reasons = _reasons(ordered, current, policy)
    kept = tuple((c, tuple(reasons[c.id])) for c in ordered if c.id in reasons)
    removed = tuple((c, _why_not(c, latest[c.step].id)) for c in ordered if c.id not in reasons)
    return Retention(kept, removed)


def _reasons(ordered: Sequence[C], current: Sequence[C], policy: KeepPolicy) -> Reasons:
    reasons: Reasons = {}
    if ordered:
        reasons[ordered[-1].id] = ["newest"]
    for candidate in ordered:
        for tag in candidate.tags:
            reasons.setdefault(candidate.id, []).append(f"tagged {tag}")
    for member in members(policy):
        for checkpoint_id, reason in member.wanted(current).items():
            known = reasons.setdefault(checkpoint_id, [])
            if reason not in known:
                known.append(reason)
    return reasons


def _why_not(candidate: Candidate, latest_id: str) -> str:
    if candidate.id != latest_id:
        return f"superseded by a later save of step {candidate.step}"
    return "no rule keeps it"
