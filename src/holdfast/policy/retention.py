"""The plan of a retention: which of a run's checkpoints stay, which go, and why.

The rules, in this order:

1. The newest checkpoint (highest ``seq``) is always kept.
2. A checkpoint with a tag is always kept.
3. Where one step was saved several times, only the latest of them counts, and those with a tag;
   the others are superseded and go.
4. Of the rest, whatever one of the policies wants is kept.
5. Where there is a budget, of what is kept by 4 only as much as fits.

The same checkpoints and the same policy always give the same plan, and what a plan keeps is kept
by the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from holdfast.policy.candidate import Candidate
from holdfast.policy.keep_ages import KeepYoung
from holdfast.policy.keep_budget import KeepBudget, Objects, spend
from holdfast.policy.keep_policy import KeepPolicy, Verdicts, members
from holdfast.policy.keep_rules import KeepAll, KeepBest, KeepEveryEpochs

C = TypeVar("C", bound=Candidate)
Judged = tuple[KeepPolicy, Verdicts]
Reasons = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Retention(Generic[C]):
    """A plan of what stays and what goes; both in the order of saving.

    Attributes:
        kept: Each checkpoint that stays, with every reason for it.
        removed: Each checkpoint that goes, with what the rules say of it.
        over_bytes: By how much what always stays is above the budget; 0 where it is not.
    """

    kept: tuple[tuple[C, tuple[str, ...]], ...]
    removed: tuple[tuple[C, str], ...]
    over_bytes: int = 0


def budget_of(policy: KeepPolicy) -> int | None:
    """Return the smallest budget that a policy sets, in bytes, or None."""
    return min((m.nbytes for m in members(policy) if isinstance(m, KeepBudget)), default=None)


def rules_of(policy: KeepPolicy) -> tuple[KeepPolicy, ...]:
    """Return the rules of a policy that keep something; a budget alone chooses among all."""
    return tuple(m for m in members(policy) if not isinstance(m, KeepBudget)) or (KeepAll(),)


def measures_of(policy: KeepPolicy) -> tuple[tuple[str, ...], bool]:
    """Return the metrics that a policy ranks by, and whether it goes by epochs."""
    rules = [_inner(rule) for rule in rules_of(policy)]
    metrics = dict.fromkeys(rule.metric for rule in rules if isinstance(rule, KeepBest))
    return tuple(metrics), any(isinstance(rule, KeepEveryEpochs) for rule in rules)


def plan_retention(
    checkpoints: Sequence[C],
    policy: KeepPolicy,
    *,
    objects: Mapping[str, Objects] | None = None,
    ahead_s: float = 0.0,
) -> Retention[C]:
    """Return which of a run's checkpoints stay and which go.

    Args:
        checkpoints: All of the run's committed checkpoints, in any order.
        policy: What is worth keeping.
        objects: What each checkpoint needs in the store, by id; only a budget asks for it. One
            that is missing stays.
        ahead_s: By how many seconds the clock may be ahead of the checkpoints' times; so much
            younger they all count.

    Returns:
        The plan; together its two halves hold each checkpoint exactly once.
    """
    ahead = timedelta(seconds=max(ahead_s, 0.0))
    plan = _plan(sorted(checkpoints, key=lambda c: c.seq), policy, objects or {}, ahead)
    if budget_of(policy) is None:
        return plan
    # Of two that a doubt about the clock joins, the budget may take the one that it rests on.
    while (again := _plan([c for c, _ in plan.kept], policy, objects or {}, ahead)).removed:
        removed = sorted((*plan.removed, *again.removed), key=lambda pair: pair[0].seq)
        plan = Retention(again.kept, tuple(removed), again.over_bytes)
    return plan


def _plan(
    ordered: Sequence[C], policy: KeepPolicy, objects: Mapping[str, Objects], ahead: timedelta
) -> Retention[C]:
    if not ordered:
        return Retention((), ())
    # Later saves of a step overwrite earlier ones here.
    latest = {c.step: c for c in ordered}
    # One with a tag stays, so it ranks: else it would begin to once the later save has gone.
    current = [c for c in ordered if c.tags or latest[c.step].id == c.id]
    now = ordered[-1].created - ahead
    judged = [(rule, rule.judge(current, now)) for rule in rules_of(policy)]
    kept = _reasons(ordered, [verdicts for _, verdicts in judged])
    gone = {c.id: _why_not(c, latest[c.step], judged) for c in ordered if c.id not in kept}
    over_bytes = 0
    nbytes = budget_of(policy)
    if nbytes is not None:
        forced = [c.id for c in ordered if c.tags or c is ordered[-1]]
        wanted = [name for name in _most_wanted(current, judged) if name not in forced]
        bought = spend(nbytes, forced, wanted, objects)
        over_bytes = max(bought.used_bytes - nbytes, 0)
        for name, verdict in bought.verdicts.items():
            kept[name].append(verdict.why)
            if not verdict.stays:
                gone[name] = verdict.why
    return Retention(
        tuple((c, tuple(kept[c.id])) for c in ordered if c.id not in gone),
        tuple((c, gone[c.id]) for c in ordered if c.id in gone),
        over_bytes,
    )


def _reasons(ordered: Sequence[Candidate], judged: Sequence[Verdicts]) -> Reasons:
    """Return why each one stays that newest, tag or a rule keeps."""
    reasons: Reasons = {ordered[-1].id: ["newest"]}
    for candidate in ordered:
        for tag in candidate.tags:
            reasons.setdefault(candidate.id, []).append(f"tagged {tag}")
    for verdicts in judged:
        for name, verdict in verdicts.items():
            known = reasons.setdefault(name, []) if verdict.stays else [verdict.why]
            if verdict.why not in known:
                known.append(verdict.why)
    return reasons


def _why_not(candidate: Candidate, latest: Candidate, judged: Sequence[Judged]) -> str:
    if candidate.id != latest.id:
        return f"superseded by a later save of step {candidate.step}"
    return "; ".join(dict.fromkeys(verdicts[candidate.id].why for _, verdicts in judged))


def _most_wanted(current: Sequence[Candidate], judged: Sequence[Judged]) -> list[str]:
    """Return what the rules keep: the best by rank, then the others, the newest first."""
    best = [
        name
        for rule, verdicts in judged
        if isinstance(_inner(rule), KeepBest)
        for name, verdict in verdicts.items()
        if verdict.stays
    ]
    kept = {name for _, verdicts in judged for name, v in verdicts.items() if v.stays}
    others = [c.id for c in reversed(current) if c.id in kept]
    return list(dict.fromkeys([*best, *others]))


def _inner(rule: KeepPolicy) -> KeepPolicy:
    """Return the rule that is applied, to young checkpoints only or to all."""
    return _inner(rule.policy) if isinstance(rule, KeepYoung) else rule
