"""Retention carried out: unlist what a policy does not keep, then sweep what nothing names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.errors import ManifestDamaged, NotFound, UsageError
from holdfast.format.commit import CommitRecord
from holdfast.format.names import RunKeys
from holdfast.history.info import CheckpointInfo, info_of
from holdfast.history.known import require_run
from holdfast.history.log import read_log
from holdfast.history.measured import require_measured
from holdfast.history.missing import missing_commits
from holdfast.history.refs import resolve, split_ref
from holdfast.history.stock import Stock
from holdfast.history.sweep import bytes_of, find_garbage, sweep
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.policy.retention import Retention, budget_of, plan_retention
from holdfast.policy.text import parse_keep
from holdfast.records import commits, drains, pins, removals, tags
from holdfast.records.journal import Removal
from holdfast.records.rewriting import alone
from holdfast.security.trust_policy import TrustPolicy
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")
_Removed = tuple[CheckpointInfo, str]
WriteDown = Callable[[Iterable[Removal]], None]
_Divided = tuple[list[tuple[CheckpointInfo, list[str]]], list[_Removed]]


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What a retention kept and removed, or would have.

    Attributes:
        kept: What stays, each with its reasons.
        removed: What goes, each with what the rules say of it.
        freed_bytes: The bytes that it gave back, or would.
        dry_run: Whether nothing was removed.
        over_budget_bytes: By how much what always stays is above the budget of the policy.
    """

    kept: Sequence[tuple[CheckpointInfo, Sequence[str]]]
    removed: Sequence[tuple[CheckpointInfo, str]]
    freed_bytes: int
    dry_run: bool
    over_budget_bytes: int = 0


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
    only_ids: Collection[str] | None = None,
    spared_ids: Collection[str] = (),
    trust: TrustPolicy | None = None,
    ahead_s: float = 0.0,
    write_down: WriteDown = lambda removed: None,
) -> PruneReport:
    """Remove the checkpoints of a run that a policy does not keep.

    The newest and the tagged ones always stay; where a tag cannot be read, all do. Where nothing
    that would stay is whole, the newest that is stays too. Safe beside saves and other removals.

    With a trust policy, what it does not trust does not count and is left alone: else whoever can
    add checkpoints could have the real ones removed.

    Args:
        store: Where the run is.
        run: Its name.
        policy: What is worth keeping.
        dry_run: Only tell what would be removed.
        strict: A policy that goes by a metric or by epochs which no checkpoint has is refused; else
            it keeps all: a run that has just begun may not have measured it yet.
        only_of: Remove only what that incarnation has saved.
        only_ids: Remove only checkpoints with one of these ids.
        spared_ids: Checkpoints that are still to go to another store. Those that are noted to go
            there are spared anyway.
        trust: Whom to believe.
        ahead_s: By how much the clock was set forward since the process began.
        write_down: Called before anything is removed with what will be, to be written down.

    Raises:
        NotFound: There is no such run.
        UsageError: No checkpoint has what the policy goes by.
    """
    require_run(store, run)
    names = tags.tags_by_checkpoint(store, run)
    records = {record.id: record for record in commits.good_commits(store, run)}
    everything = [info_of(r, names.get(r.id, ()), trust) for r in records.values()]
    checkpoints = [info for info in everything if info.trust is None or info.trust.trusted]
    if strict:
        require_measured(run, checkpoints, policy)
    stock = Stock(store, run)
    objects = _needs(stock, [records[info.id] for info in checkpoints], policy)
    plan = plan_retention(checkpoints, policy, objects=objects, ahead_s=ahead_s)
    to_go = {drain.checkpoint_id for drain in drains.noted(store, run)} | set(spared_ids)
    kept, removed = _divided(plan, only_of, only_ids, to_go)
    spared, removed = _with_a_whole_one(stock, records, [info for info, _ in kept], removed)
    awaited, removed = _without_awaited(store, run, records, removed)
    kept += [*spared, *awaited]
    kept += [
        (info, ["not trusted"])
        for info in everything
        if info.trust is not None and not info.trust.trusted
    ]
    if dry_run or not removed:
        spared, removed = _without_tagged(store, run, removed)
        freed = _would_free(store, run, [info for info, _ in removed])
    else:
        spared, removed = _carry_out(store, run, removed, write_down)
        freed = sweep(store, run, {info.id for info, _ in removed})
    return PruneReport([*kept, *spared], removed, freed, dry_run, plan.over_bytes)


def _divided(
    plan: Retention[CheckpointInfo],
    only_of: str | None,
    only_ids: Collection[str] | None,
    to_go: Collection[str],
) -> _Divided:
    """Return what a plan keeps and removes; of what may not go, why it stays."""
    kept = [(info, list(reasons)) for info, reasons in plan.kept]
    removed: list[_Removed] = []
    for info, reason in plan.removed:
        if only_of not in (None, info.incarnation):
            kept.append((info, ["another process's"]))
        elif only_ids is not None and info.id not in only_ids:
            kept.append((info, ["not asked for"]))
        elif info.id in to_go:
            kept.append((info, ["still to be copied to another tier"]))
        else:
            removed.append((info, reason))
    return kept, removed


def _carry_out(
    store: ObjectStore, run: str, removed: Sequence[_Removed], write_down: WriteDown
) -> _Divided:
    """Unlist what shall go; return what has got a tag meanwhile, and what has gone."""
    with removals.announced(store, run, [info.id for info, _ in removed]):
        # After the announcement is visible, not before: see records.removals.
        spared, gone = _without_tagged(store, run, removed)
        _unlist(store, run, gone, write_down)
    return spared, gone


def _needs(
    stock: Stock, records: Sequence[CommitRecord], policy: KeepPolicy
) -> dict[str, Mapping[str, int]] | None:
    """Return what each checkpoint needs where a budget asks for it; without those not known."""
    if budget_of(policy) is None:
        return None
    found = {record.id: stock.needs(record) for record in records}
    return {name: needs for name, needs in found.items() if needs is not None}


def _with_a_whole_one(
    stock: Stock,
    records: Mapping[str, CommitRecord],
    kept: Sequence[CheckpointInfo],
    removed: list[_Removed],
) -> _Divided:
    """Spare the newest whole checkpoint where none that stays is whole: it is the last good one."""
    if not removed or any(stock.is_whole(records[info.id]) for info in reversed(kept)):
        return [], removed
    for spared in reversed(removed):
        if stock.is_whole(records[spared[0].id]):
            _log.warning(
                "%s stays, though the policy does not keep it: of what it keeps nothing is whole. "
                "'holdfast verify %s' tells what is damaged.",
                spared[0].ref,
                spared[0].run,
            )
            why = "in doubt: nothing that the policy keeps is whole"
            return [(spared[0], [why])], [item for item in removed if item is not spared]
    return [], removed


def _without_awaited(
    store: ObjectStore, run: str, records: Mapping[str, CommitRecord], removed: list[_Removed]
) -> _Divided:
    """Spare what some rank that has saved it has still to see committed: its pin says so.

    A rank that found it gone would take it for given up.
    """
    if all(records[info.id].world_size == 1 for info, _ in removed):
        return [], removed
    awaited = {pin.checkpoint_id for pin in pins.all_pins(store, run)}
    why = "a rank has still to see it"
    kept = [(info, [why]) for info, _ in removed if info.id in awaited]
    return kept, [(info, reason) for info, reason in removed if info.id not in awaited]


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


def remove(
    store: ObjectStore, ref: str, write_down: WriteDown = lambda removed: None
) -> PruneReport:
    """Remove one checkpoint with its tags; ``write_down`` as in ``apply_retention``.

    Raises:
        NotFound: The ref names no checkpoint.
    """
    record = _named(store, ref)
    removed = [(info_of(record), "asked for")]
    with removals.announced(store, record.run, [record.id]):
        names = tags.tags_by_checkpoint(store, record.run).get(record.id, ())
        for name in names:
            tags.delete_tag(store, record.run, name)
        _unlist(store, record.run, removed, write_down)
    rest = [(other, ["not asked for"]) for other in read_log(store, record.run)]
    freed = sweep(store, record.run, {record.id})
    return PruneReport(rest, [(info_of(record, names), "asked for")], freed, dry_run=False)


def _named(store: ObjectStore, ref: str) -> CommitRecord:
    """Return what a ref names; of a checkpoint without its commit, by its step, a stand-in."""
    try:
        return resolve(store, ref)
    except (NotFound, ManifestDamaged):
        run, what = split_ref(ref)
        for missing in missing_commits(store, run):
            if str(missing.step) == what:
                return missing.stand_in
        raise


def _would_free(store: ObjectStore, run: str, infos: Sequence[CheckpointInfo]) -> int:
    if not infos:
        return 0
    garbage = find_garbage(store, run, without={info.id for info in infos})
    return bytes_of(garbage)


def _unlist(
    store: ObjectStore, run: str, removed: Sequence[_Removed], write_down: WriteDown
) -> None:
    """Delete commits, durably; what they alone needed is garbage from now on."""
    if not removed:
        return
    keys = RunKeys(run)
    # Before: a commit that is gone without a word was lost (history.missing).
    write_down([Removal(info.step, info.id, reason) for info, reason in removed])
    with alone(store, run):
        store.delete([keys.commit(seq) for seq in sorted(info.seq for info, _ in removed)])
