"""What a ``Store`` does that reads manifests and arrays, imported when it is first asked for.

A look at the log does without, and what is imported is most of what a command that only looks has
to wait for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

from holdfast.engine.copying import copy
from holdfast.engine.repair import repair
from holdfast.engine.resign import sign_checkpoint
from holdfast.engine.tiers.telling import tier_facts
from holdfast.engine.transfer import copy_checkpoint
from holdfast.errors import DataError, NotFound, UsageError
from holdfast.format.commit import CommitRecord
from holdfast.history import catalog, health, retention
from holdfast.history.chain import head_of
from holdfast.history.curves import curves
from holdfast.history.diff.compare import Source, diff
from holdfast.history.health import DoctorReport
from holdfast.history.info import CheckpointInfo, info_of
from holdfast.history.metrics import read_metrics
from holdfast.history.refs import read_ref, resolve, split_ref
from holdfast.history.retention import PruneReport, apply_retention
from holdfast.history.unpack import unpack
from holdfast.history.verify import verify
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.records import commits, journal
from holdfast.records.place import Place
from holdfast.security.trust_policy import TrustPolicy
from holdfast.store.contract import ObjectStore

__all__ = [
    "KeepPolicy",
    "Source",
    "copy",
    "curves",
    "diff",
    "examine",
    "head_of",
    "prune",
    "read_metrics",
    "remove",
    "repair",
    "roll_back",
    "sign_checkpoint",
    "unpack_listed",
    "verify",
]


def examine(store: ObjectStore) -> DoctorReport:
    """Return facts about a store's health, and about its tiers; make its catalog anew."""
    report = health.examine(store)
    return replace(report, facts={**report.facts, **tier_facts(store)})


def unpack_listed(
    store: ObjectStore, info: CheckpointInfo, folder: Path, trust: TrustPolicy | None
) -> None:
    """Write a checkpoint that was listed into a folder, as plain files.

    Raises:
        NotFound: It was removed.
        Untrusted: The policy does not believe it.
        DataError: It is damaged.
    """
    try:
        record = commits.read_commit(store, info.run, info.seq)
        if trust is not None:
            trust.require(record)
        unpack(store, record, folder)
    except DataError as error:
        if commits.is_listed(store, info.run, info.seq, info.id):
            raise
        raise NotFound(f"{info.ref} is not there any more.", ref=info.ref) from error


def prune(
    store: ObjectStore,
    run: str,
    policy: KeepPolicy,
    trust: TrustPolicy | None,
    *,
    dry_run: bool,
    only_ids: Collection[str] | None = None,
) -> PruneReport:
    """Remove the checkpoints of a run that a policy does not keep, and write it down.

    With ``only_ids``, only those that have one of these ids.

    Raises:
        UsageError: No checkpoint has what the policy goes by; nothing was removed.
    """
    report = apply_retention(
        store,
        run,
        policy,
        dry_run=dry_run,
        only_ids=only_ids,
        trust=trust,
        write_down=partial(journal.record_removals, store, run, by="prune"),
    )
    _write_freed(store, run, report, by="prune")
    return report


def remove(store: ObjectStore, ref: str) -> PruneReport:
    """Remove one checkpoint with its tags, and write it down.

    Raises:
        NotFound: The ref names no checkpoint.
    """
    run = split_ref(ref)[0]
    report = retention.remove(store, ref, partial(journal.record_removals, store, run, by="rm"))
    _write_freed(store, run, report, by="rm")
    return report


def _write_freed(store: ObjectStore, run: str, report: PruneReport, *, by: str) -> None:
    """Write down what a removal has given back. No process that trains did it, so none is named."""
    if report.dry_run or not report.removed:
        return
    n = len(report.removed)
    journal.record(store, run, "freed", bytes=report.freed_bytes, checkpoints=n, by=by)


def roll_back(place: Place, ref: str) -> CheckpointInfo:
    """Commit an older checkpoint of a run once more, as its newest.

    Raises:
        UsageError: It is the newest already.
        RunBusy: The run is being written.
        Untrusted: The policy does not believe it, or who signs here.
        DataError: It is damaged; nothing was committed.
    """
    store, authenticity = place.open(), place.authenticity

    def again(record: CommitRecord) -> CheckpointInfo:
        newest = resolve(store, f"{record.run}@latest", authenticity.trust)
        if newest.id == record.id:
            raise UsageError(
                f"{record.run}@{record.step} is the newest of its run already; the next start "
                "goes on from it. Nothing was changed.",
                ref=ref,
            )
        authenticity.require_fit(record.run)
        saved = copy_checkpoint(store, record, store, authenticity, reason="rolled back to")
        catalog.note(store, saved.record.run)
        return info_of(saved.record, trust=authenticity.trust)

    return read_ref(store, ref, again, authenticity.trust)
