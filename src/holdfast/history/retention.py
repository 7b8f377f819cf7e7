"""Retention carried out: unlist what a policy does not keep, then sweep what nothing names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.errors import UsageError
from holdfast.format.names import RunKeys
from holdfast.history.info import CheckpointInfo, info_of
from holdfast.history.log import read_log
from holdfast.history.refs import resolve
from holdfast.history.sweep import find_garbage, sweep
from holdfast.policy import KeepBest, KeepPolicy, members, parse_keep, plan_retention
from holdfast.records import removals, tags
from holdfast.records.rewriting import alone
from holdfast.security.trust_policy import TrustPolicy
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")
_Removed = tuple[CheckpointInfo, str]
_Divided = tuple[list[tuple[CheckpointInfo, list[str]]], list[_Removed]]


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What a retention kept and removed, or would have, and the bytes that it freed."""

    kept: Sequence[tuple[CheckpointInfo, Sequence[str]]]
    removed: Sequence[tuple[CheckpointInfo, str]]
    freed_bytes: int
    dry_run: bool


def united(texts: Sequence[str]) -> KeepPolicy:
    """Return the policy that several texts name together.

    Raises:
        UsageError: There is no text, or one names no policy.
    """
    if not texts:
        raise UsageError("No retention policy was given; nothing was removed.")
    policy = parse_keep(texts[0])
    for text in texts[1:]:
        policy = policy | parse_keep(text)
    return policy


def apply_retention(
    store: ObjectStore,
    run: str,
    policy: KeepPolicy,
    *,
    dry_run: bool,
    strict: bool = True,
    only_of: str | None = None,
    trust: TrustPolicy | None = None,
) -> PruneReport:
    """Remove the checkpoints of a run that a policy does not keep.

    The newest and the tagged ones always stay; where a tag cannot be read, all do. Safe beside
    saves and other removals.

    With a trust policy, what it does not trust does not count and is left alone: else whoever can
    add checkpoints could have the real ones removed.

    Args:
        store: Where the run is.
        run: Its name.
        policy: What is worth keeping.
        dry_run: Only tell what would be removed.
        strict: A policy that ranks by a metric which no checkpoint has is refused; a run that has
            just begun may not have measured it yet.
        only_of: Remove only what that incarnation has saved.
        trust: Whom to believe.

    Raises:
        UsageError: No checkpoint has the metric of a policy.
    """
    everything = read_log(store, run, trust)
    checkpoints = [info for info in everything if info.trust is None or info.trust.trusted]
    if strict:
        _check_metrics(run, checkpoints, policy)
    plan = plan_retention(checkpoints, policy)
    kept = [(info, list(reasons)) for info, reasons in plan.kept]
    removed = [item for item in plan.removed if only_of in (None, item[0].incarnation)]
    kept += [(item[0], ["another process's"]) for item in plan.removed if item not in removed]
    kept += [(info, ["not trusted"]) for info in everything if info not in checkpoints]
    if dry_run or not removed:
        spared, removed = _without_tagged(store, run, removed)
        freed = _would_free(store, run, [info for info, _ in removed])
        return PruneReport([*kept, *spared], removed, freed, dry_run)
    with removals.announced(store, run, [info.id for info, _ in removed]):
        # After the announcement is visible, not before: see records.removals.
        spared, removed = _without_tagged(store, run, removed)
        _unlist(store, run, [info for info, _ in removed])
    return PruneReport([*kept, *spared], removed, sweep(store, run), dry_run)


def _without_tagged(store: ObjectStore, run: str, removed: Sequence[_Removed]) -> _Divided:
    """Divide what shall go into what a tag keeps, or may keep, and what goes."""
    found = tags.all_tags(store, run)
    unreadable = [tag for tag in found if tag.error is not None]
    if removed and unreadable:
        # It may name any of them, and what is tagged stays.
        name = unreadable[0].name
        _log.warning(
            "Nothing is removed from run %r while its tag %r cannot be read: it may name any of "
            "%d checkpoint(s). Give it anew with 'holdfast tag', or bring it back with 'holdfast "
            "repair'.",
            run,
            name,
            len(removed),
        )
        return [(info, [f"may have the tag {name!r}, which is damaged"]) for info, _ in removed], []
    named = {tag.checkpoint_id for tag in found}
    kept = [(info, ["tagged"]) for info, _ in removed if info.id in named]
    return kept, [(info, reason) for info, reason in removed if info.id not in named]


def _check_metrics(run: str, checkpoints: Sequence[CheckpointInfo], policy: KeepPolicy) -> None:
    there = {name for info in checkpoints for name in info.metrics}
    for member in members(policy):
        if isinstance(member, KeepBest) and checkpoints and member.metric not in there:
            raise UsageError(
                f"No checkpoint of run {run!r} has the metric {member.metric!r}, so that it keeps "
                f"none; nothing was removed. Metrics there: {', '.join(sorted(there)) or 'none'}.",
                run=run,
                metric=member.metric,
            )


def remove(store: ObjectStore, ref: str) -> PruneReport:
    """Remove one checkpoint with its tags.

    Raises:
        NotFound: The ref names no checkpoint.
    """
    record = resolve(store, ref)
    with removals.announced(store, record.run, [record.id]):
        names = tags.tags_by_checkpoint(store, record.run).get(record.id, ())
        for name in names:
            tags.delete_tag(store, record.run, name)
        _unlist(store, record.run, [info_of(record)])
    rest = [(other, ["not asked for"]) for other in read_log(store, record.run)]
    removed = [(info_of(record, names), "asked for")]
    return PruneReport(rest, removed, sweep(store, record.run), dry_run=False)


def _would_free(store: ObjectStore, run: str, infos: Sequence[CheckpointInfo]) -> int:
    if not infos:
        return 0
    garbage = find_garbage(store, run, without={info.id for info in infos})
    return sum(info.size for info in garbage)


def _unlist(store: ObjectStore, run: str, infos: Sequence[CheckpointInfo]) -> None:
    """Delete commits, durably; what they alone needed is garbage from now on."""
    keys = RunKeys(run)
    with alone(store, run):
        store.delete([keys.commit(info.seq) for info in sorted(infos, key=lambda i: i.seq)])
