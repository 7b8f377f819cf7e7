"""What becomes of the script under a fault, judged from what is known of both runs; pure."""

from __future__ import annotations

import re
from dataclasses import replace

from holdfast.drill.compare import Difference
from holdfast.drill.diagnosis import diagnose
from holdfast.drill.diagnosis.cause import Cause
from holdfast.drill.diagnosis.evidence import evidence_of
from holdfast.drill.faults import Fault
from holdfast.drill.record import Record
from holdfast.drill.report import Outcome

# What each process has for itself, so that there are as many as processes.
_OF_A_RANK = re.compile(r"rank|rng|random|generator", re.IGNORECASE)


def judge(
    fault: Fault,
    what: str,
    reference: Record,
    disturbed: Record,
    difference: Difference,
    *,
    falls_back: bool = True,
) -> Outcome:
    """Return what became of a run that was disturbed.

    Args:
        fault: The fault.
        what: What was done, in words.
        reference: The run that was never disturbed.
        disturbed: The run, to its end.
        difference: How the ends differ.
        falls_back: Whether an older checkpoint was there to go on from, and the tool promises to.
    """
    evidence = evidence_of(reference, disturbed, difference)
    resumed_at = _resumed_at(disturbed, evidence.start if evidence.found else None)
    outcome = Outcome(fault.name, what, "passed", "", (), difference, resumed_at=resumed_at)
    last = disturbed.last
    if last.status != 0:
        return _ended_badly(outcome, fault, disturbed, falls_back)
    if _began_anew(reference, disturbed) and fault.name != "stop":
        return _anew(outcome, fault, reference, disturbed, difference)
    if fault.name == "world":
        return _other_world(outcome, difference)
    if difference.is_none:
        same = f"{difference.n_leaves:,} leaves and {difference.n_values:,} metrics are the same"
        where = _from_where(reference, disturbed, resumed_at)
        if where is not None:
            return replace(outcome, words=f"{same}{where}")
        words = (
            f"{same}, but whether it went on or began anew cannot be seen: it prints no steps, and "
            "was not seen to read a checkpoint. Let it print its steps"
        )
        return replace(outcome, status="warned", words=words, is_unseen=True)
    if _only_told_once(reference, difference):
        first = difference.series[0]
        words = (
            f"all leaves and courses of metrics are the same; {first.name}, told once at step "
            f"{first.step}, is {first.found} instead of {first.expected}: a sum over one life?"
        )
        return replace(outcome, words=words)
    causes = diagnose(reference, disturbed, difference)
    return replace(outcome, status="failed", words=_differs(difference), causes=causes)


def _from_where(reference: Record, disturbed: Record, resumed_at: int | None) -> str | None:
    """Return how much is known of where the last life went on; None for nothing."""
    if len(disturbed.lives) < 2:
        return ""
    if resumed_at is not None:
        return f", on from step {resumed_at}"
    told = _printed_from(reference, disturbed)
    if told is not None:
        return f"; the last life printed steps from {told:g} on"
    printed, whole = len(disturbed.last.lines), len(reference.last.lines)
    if printed < whole:
        return f"; the last life printed {printed} lines of {whole}"
    if not any(life.had_checkpoint for life in disturbed.lives[:-1]):
        return "; nothing had been saved yet"
    return "; it read a checkpoint" if disturbed.last.has_read else None


def _printed_from(reference: Record, disturbed: Record) -> float | None:
    """Return the step that the last life printed first, if it is none of the first ones."""
    for key, series in reference.series.items():
        if series.source == "printed" and key in disturbed.series and len(series.values) > 2:
            first = min(disturbed.series[key].values)
            return first if first > min(series.values) else None
    return None


def _only_told_once(reference: Record, difference: Difference) -> bool:
    """Say whether all that differs are metrics with one value: means over what a life has done."""
    told = [reference.series[d.key].values for d in difference.series]
    same = difference.n_leaves and not difference.leaves and not difference.missing
    return bool(same) and all(len(values) == 1 for values in told)


def _resumed_at(disturbed: Record, start: int | None) -> int | None:
    if len(disturbed.lives) < 2:
        return None
    if disturbed.last.trace.next_step is not None:
        return disturbed.last.trace.next_step
    return start


def _ended_badly(outcome: Outcome, fault: Fault, disturbed: Record, falls_back: bool) -> Outcome:
    last = disturbed.last
    output = last.last_words
    if last.timed_out:
        words = f"it did not come to its end within {last.seconds:.0f} s"
        return replace(outcome, status="failed", words=words, output=output)
    said = output[-1].strip() if output else "it printed nothing"
    if fault.name == "damaged" and not falls_back:
        words = (
            f"it stops at the damaged checkpoint ({said}): nothing wrong was trained on, but it "
            "does not go on from an older one by itself"
        )
        return replace(outcome, status="warned", words=words, output=output)
    start = "it does not start again" if len(disturbed.lives) > 1 else "it does not get through"
    words = f"{start}: status {last.status}, {said}"
    cause = Cause("start", f"{start} after: {fault.words}; {said}")
    return replace(outcome, status="failed", words=words, causes=(cause,), output=output)


def _began_anew(reference: Record, disturbed: Record) -> bool:
    if len(disturbed.lives) < 2:
        return False
    expected, found = reference.last.trace, disturbed.last.trace
    if expected.kind == "c" and found.main and expected.main:
        return found.main[0].step == expected.main[0].step
    if expected.main and found.main:
        return (
            len(found.main) >= len(expected.main)
            and found.main[0].params == expected.main[0].params
        )
    return _printed_anew(reference, disturbed)


def _printed_anew(reference: Record, disturbed: Record) -> bool:
    for key, series in reference.series.items():
        if series.source == "printed" and key in disturbed.series and len(series.values) > 2:
            return min(disturbed.series[key].values) <= min(series.values)
    return False


def _anew(
    outcome: Outcome,
    fault: Fault,
    reference: Record,
    disturbed: Record,
    difference: Difference,
) -> Outcome:
    unsaved = _unsaved(fault, reference, disturbed)
    if unsaved is not None:
        if difference.is_none:
            return replace(outcome, words=f"{unsaved}; it began anew", status="passed")
        return replace(outcome, words=f"{unsaved}, and the new begin differs", status="failed")
    if fault.name == "damaged" and not difference.leaves:
        words = "it begins anew at step 0, as the only checkpoint is damaged"
        return replace(outcome, status="warned", words=words)
    cause = Cause("anew", "the checkpoint is not used: after the fault it begins anew at step 0", 0)
    words = "it began anew, though there was a checkpoint"
    return replace(outcome, status="failed", words=words, causes=(cause,))


def _unsaved(fault: Fault, reference: Record, disturbed: Record) -> str | None:
    """Return what had not been saved when the last life began, in words; None if all had been."""
    before = disturbed.lives[:-1]
    if not any(life.had_checkpoint for life in before):
        return "nothing had been saved yet"
    # Other faults wait until all are there; space may end before that. The best one may be there,
    # and not the one that the script goes on from.
    wanted = reference.last.again.difference(*(life.kinds for life in before))
    if fault.name == "full-disk" and wanted:
        return f"{min(wanted)} had not been saved yet"
    return None


def _other_world(outcome: Outcome, difference: Difference) -> Outcome:
    """Judge a run with another number of processes: sums in another order give other bits."""
    lost = [
        f"{d.saved}: {d.path} ({d.words})"
        for d in difference.leaves
        if d.what in ("missing", "shape", "type") and not _OF_A_RANK.search(d.path)
    ]
    # Where the last step has no value, the run was not as long.
    short = [f"{s.name} at step {s.step}" for s in difference.series if s.found is None]
    if lost or difference.missing or short:
        first = (*lost, *difference.missing, *short)[0]
        cause = Cause("world", f"not resumed with another number of processes: {first}")
        return replace(outcome, status="failed", words=cause.words, causes=(cause,))
    far = difference.farthest
    words = "it resumes with another number of processes; "
    words += "all is the same" if not far else f"arrays are {far:.2g} of their norm away at most"
    return replace(outcome, words=words)


def _differs(difference: Difference) -> str:
    parts = []
    if difference.leaves:
        parts.append(f"{len(difference.leaves):,} of {difference.n_leaves:,} leaves differ")
    if difference.series:
        first = difference.series[0]
        parts.append(f"{first.name} differs from step {first.step}")
    if difference.missing:
        parts.append(f"{len(difference.missing)} files are missing: {difference.missing[0]}")
    return ", ".join(parts)
