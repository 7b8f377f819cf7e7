"""Why a run does not resume exactly: rules over two runs, the causes first."""

from __future__ import annotations

from dataclasses import replace

from holdfast.drill.compare import Difference
from holdfast.drill.diagnosis.cause import Cause
from holdfast.drill.diagnosis.end_rules import END_RULES
from holdfast.drill.diagnosis.evidence import evidence_of
from holdfast.drill.diagnosis.trace_rules import TRACE_RULES, is_stale
from holdfast.drill.record import Record

__all__ = ["Cause", "diagnose", "why_not_twice"]


def diagnose(reference: Record, disturbed: Record, difference: Difference) -> tuple[Cause, ...]:
    """Return the causes of a difference.

    What was seen at the first steps after the resume tells the cause. Where nothing was seen, or
    nothing was wrong there, the ends of both tell which part is not the same.

    Args:
        reference: The run that was never disturbed.
        disturbed: The one that was.
        difference: How its end differs.
    """
    evidence = evidence_of(reference, disturbed, difference)
    # Old weights alone move no schedule and no data: these are where the run stands by the rest.
    rest = replace(evidence, by_weights=None) if is_stale(evidence) else evidence
    causes = [
        cause
        for rule in TRACE_RULES
        for cause in rule.find(evidence if rule.name == "stale" else rest)
    ]
    if any(cause.rule != "gradients" for cause in causes):
        causes = [cause for cause in causes if cause.rule != "gradients"]
    if not causes or all(cause.rule == "gradients" for cause in causes):
        causes = [c for rule in END_RULES for c in rule.find(evidence)] or causes
    # What may be lacking is the last resort; that a type is another is rarely a cause.
    if any(cause.rule not in ("state", "cast") for cause in causes):
        causes = [cause for cause in causes if cause.rule != "state"]
    return tuple({cause.words: cause for cause in causes}.values())


def why_not_twice(one: Record, other: Record, difference: Difference) -> tuple[Cause, ...]:
    """Return why two runs that nobody disturbed are not the same."""
    evidence = evidence_of(one, other, difference)
    names = [c for c in diagnose(one, other, difference) if c.rule in ("rng", "gradients")]
    if evidence.expected and evidence.found:
        first, second = evidence.all_expected[0], evidence.found[0]
        if first.model != second.model:
            return (Cause("seed", "they begin with other weights: no seed is set", 0),)
        if first.inputs != second.inputs:
            return (Cause("seed", "they begin with other data: its order has no seed", 0),)
    return tuple(c for c in names if c.rule == "gradients")
