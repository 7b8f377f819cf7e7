"""Which of a run's checkpoints a name means: ``latest``, ``best:METRIC``, a step, or a tag."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from holdfast.errors import ManifestDamaged, NotFound, StoreTooNew
from holdfast.policy.ranking import passed_over, rankable
from holdfast.records import tags
from holdfast.records.commits import DamagedCommit
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")

LATEST = "latest"


class _Named(Protocol):
    """What is known of a checkpoint to which a ref may lead."""

    @property
    def id(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def step(self) -> int: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...
    @property
    def not_finite(self) -> int | None: ...


_C = TypeVar("_C", bound=_Named)


def apart(listed: Sequence[_C | DamagedCommit]) -> tuple[list[_C], list[DamagedCommit]]:
    """Return the checkpoints that can be read, and those that cannot."""
    damaged = [c for c in listed if isinstance(c, DamagedCommit)]
    return [c for c in listed if not isinstance(c, DamagedCommit)], damaged


def meant(
    store: ObjectStore, run: str, what: str, found: list[_C], damaged: list[DamagedCommit]
) -> _C:
    """Return the checkpoint that a name means.

    Args:
        store: Where the run's tags are.
        run: The run.
        what: The name: what follows ``@`` in a ref.
        found: The run's checkpoints that can be read, in the order of saving.
        damaged: Its commits that cannot; any of them might have been the one that is meant.

    Raises:
        NotFound: It means none.
        ManifestDamaged, StoreTooNew: What cannot be read may be what it means.
    """
    if not found:
        raise _none_at_all(run, damaged)
    if what == LATEST:
        return _latest(run, found, damaged)
    if what == "best":
        raise _best_of_what(run, found)
    if what.startswith("best:"):
        return _best(run, what.removeprefix("best:"), found, damaged)
    if re.fullmatch(r"[+-]*\d+", what):
        return _at_step(run, what, found, damaged)
    return _tagged(store, run, what, found, damaged)


def _latest(run: str, found: list[_C], damaged: list[DamagedCommit]) -> _C:
    later = [c for c in damaged if c.seq > found[-1].seq]
    for commit in later:
        if commit.is_too_new:
            # It is the newest, whatever it is: what comes before it is not what was asked for.
            raise commit.error
    if later:
        _log.warning(
            "%s@latest means step %s, the newest checkpoint that can be read.%s",
            run,
            found[-1].step,
            _also_damaged(later),
        )
    return found[-1]


def _best_of_what(run: str, listed: Sequence[_Named]) -> NotFound:
    names = sorted({name for c in listed for name in c.metrics})
    which = (
        ", ".join(f"{run}@{best_name(name, 'min')}" for name in names[:10]) or "none has metrics"
    )
    return NotFound(
        f"{run}@best does not say by which metric. Of this run's checkpoints: {which}; with :max "
        "where higher is better.",
        run=run,
        tag="best",
    )


def _best(run: str, text: str, listed: Sequence[_C], damaged: list[DamagedCommit]) -> _C:
    metric, highest = text, False
    for suffix, flag in ((":max", True), (":min", False)):
        if text.endswith(suffix):
            metric, highest = text.removesuffix(suffix), flag
    ranked, sick = rankable(listed, metric), passed_over(listed, metric)
    if not ranked and sick:
        raise NotFound(
            f"{len(sick)} checkpoint(s) of run {run!r} have a metric {metric!r}, but each has "
            f"values that are NaN or infinite, so that none is the best.{_also_damaged(damaged)} "
            "Name one by its step to have it all the same.",
            run=run,
            metric=metric,
        )
    if not ranked:
        names = sorted({name for c in listed for name in c.metrics})
        raise NotFound(
            f"No checkpoint of run {run!r} has a finite metric {metric!r}. Metrics there: "
            f"{', '.join(names) or 'none'}.{_also_damaged(damaged)}",
            run=run,
            metric=metric,
        )
    sign = -1 if highest else 1
    best = min(ranked, key=lambda c: (sign * c.metrics[metric], c.seq))
    better = [c for c in sick if sign * c.metrics[metric] < sign * best.metrics[metric]]
    if better:
        _log.warning(
            "%s@best:%s means %s@%s: %d with a better value were passed over (steps %s), since "
            "their arrays have values that are NaN or infinite.",
            run,
            text,
            run,
            best.step,
            len(better),
            ", ".join(str(c.step) for c in better[-5:]),
        )
    if damaged:
        remedy = "" if _kind(damaged) is StoreTooNew else ", or delete the damaged record"
        raise _kind(damaged)(
            f"Which checkpoint of run {run!r} is best by {metric!r} cannot be told:"
            f"{_also_damaged(damaged)} Of those that can be read it is {run}@{best.step}: ask for "
            f"that{remedy}.",
            run=run,
            metric=metric,
            best_readable=best.step,
        )
    return best


def _at_step(run: str, text: str, listed: Sequence[_C], damaged: list[DamagedCommit]) -> _C:
    step = int(text) if len(text) < 20 and text.lstrip("+-") == text.lstrip("+") else text
    found = [c for c in listed if c.step == step]
    if found:
        later = [c for c in damaged if c.seq > found[-1].seq]
        if later:
            _log.warning(
                "%s@%s is the newest checkpoint of that step that can be read, but%s It may have "
                "been of the same step.",
                run,
                step,
                _also_damaged(later),
            )
        return found[-1]
    steps = ", ".join(str(c.step) for c in listed[-10:])
    kind = _kind(damaged) if damaged else NotFound
    raise kind(
        f"Run {run!r} has no checkpoint at step {step}. Its last ones: {steps}."
        f"{_also_damaged(damaged)}",
        run=run,
        step=step,
    )


def _tagged(
    store: ObjectStore,
    run: str,
    name: str,
    listed: Sequence[_C],
    damaged: list[DamagedCommit],
) -> _C:
    tag = tags.find(store, run, name)
    by_id = next((found for found in listed if found.id == name), None)
    if tag is None and by_id is not None:
        # Where a step was saved twice, as after a rollback, the earlier one has no other ref.
        return by_id
    if tag is None:
        known = sorted({tag.name for tag in tags.all_tags(store, run)})
        raise NotFound(
            f"Run {run!r} has no tag {name!r}. Its tags: {', '.join(known) or 'none'}.",
            run=run,
            tag=name,
        )
    if tag.error is not None:
        raise tag.error
    for found in listed:
        if found.id == tag.checkpoint_id:
            return found
    kind = _kind(damaged) if damaged else NotFound
    raise kind(
        f"The tag {name!r} of run {run!r} names a checkpoint that is not there any more."
        f"{_also_damaged(damaged)}",
        run=run,
        tag=name,
    )


def _also_damaged(damaged: list[DamagedCommit]) -> str:
    too_new = [commit for commit in damaged if commit.is_too_new]
    bad = [commit for commit in damaged if not commit.is_too_new]
    told = ""
    if bad:
        told += (
            f" {len(bad)} commit record(s) of the run cannot be read ({_keys(bad)}). The others "
            "are not affected: 'holdfast log' lists them, 'holdfast repair' puts right what can be."
        )
    if too_new:
        told += (
            f" {len(too_new)} are of a newer format, and nothing is wrong with them: upgrade "
            f"holdfast to read them ({_keys(too_new)})."
        )
    return told


def _keys(found: list[DamagedCommit]) -> str:
    return ", ".join(commit.key for commit in found[:5])


def _kind(damaged: list[DamagedCommit]) -> type[ManifestDamaged | StoreTooNew]:
    """Return the class of the error that what cannot be read is a reason for."""
    return StoreTooNew if all(commit.is_too_new for commit in damaged) else ManifestDamaged


def _none_at_all(run: str, damaged: list[DamagedCommit]) -> Exception:
    if damaged:
        return damaged[-1].error
    return NotFound(f"Run {run!r} has no checkpoint yet.", run=run)


def best_name(metric: str, mode: str) -> str:
    """Return what a ref calls the best checkpoint by a metric; mode is ``min`` or ``max``.

    >>> best_name("val_loss", "min"), best_name("val_acc", "max")
    ('best:val_loss', 'best:val_acc:max')
    """
    if mode == "max":
        return f"best:{metric}:max"
    # A metric's own name may end like a mode.
    return f"best:{metric}:min" if metric.endswith((":max", ":min")) else f"best:{metric}"
