"""What a retention policy is: a rule that judges a run's checkpoints, alone or with others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import final

from holdfast.errors import UsageError
from holdfast.policy.candidate import Candidate


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a rule keeps a checkpoint, and why or why not."""

    stays: bool
    why: str


Verdicts = Mapping[str, Verdict]


class KeepPolicy(ABC):
    """A rule that says which checkpoints are worth keeping."""

    __slots__ = ()

    @abstractmethod
    def judge(self, candidates: Sequence[Candidate], now: datetime) -> Verdicts:
        """Return a verdict on each candidate, by id; the best first where the rule ranks them.

        Args:
            candidates: One for each step, in the order of ``seq``.
            now: The time that ages are counted back from: that of the newest checkpoint.
        """

    @final
    def __or__(self, other: KeepPolicy) -> KeepPolicy:
        if not isinstance(other, KeepPolicy):
            return NotImplemented
        return KeepAny((*members(self), *members(other)))

    @final
    def within(
        self, *, hours: float | None = None, days: float | None = None, steps: int | None = None
    ) -> KeepPolicy:
        """Apply this policy to young checkpoints only; older ones it does not keep.

        ``keep.every(hours=1).within(days=1) | keep.every(days=1)`` thins with age.

        Args:
            hours: Those saved at most so many hours before the newest.
            days: The same in days.
            steps: Those at most so many steps before the newest.

        Raises:
            UsageError: None or several are given, the amount is not above zero, or the policy is
                a budget, which has no age.
        """
        # Here, since these policies are made of this one.
        from holdfast.policy.keep_ages import KeepYoung, checked_age
        from holdfast.policy.keep_budget import KeepBudget

        age = checked_age("within", hours=hours, days=days, steps=steps)
        parts = members(self)
        if any(isinstance(part, KeepBudget) for part in parts):
            raise UsageError(
                "A budget limits what all policies keep together; combine it with '|', not with "
                "within()."
            )
        young = tuple(KeepYoung(part, age) for part in parts)
        return young[0] if len(young) == 1 else KeepAny(young)


@final
@dataclass(frozen=True, slots=True)
class KeepAny(KeepPolicy):
    """Keeps what one of its members keeps."""

    policies: tuple[KeepPolicy, ...]

    def judge(self, candidates: Sequence[Candidate], now: datetime) -> Verdicts:
        """Return what the members say; the first one that keeps a candidate gives the reason."""
        merged: dict[str, Verdict] = {}
        for policy in self.policies:
            for name, verdict in policy.judge(candidates, now).items():
                if name not in merged or (verdict.stays and not merged[name].stays):
                    merged[name] = verdict
        return merged


def members(policy: KeepPolicy) -> tuple[KeepPolicy, ...]:
    """Return the single policies that a policy consists of."""
    return policy.policies if isinstance(policy, KeepAny) else (policy,)
