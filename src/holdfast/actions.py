"""What a ``Store`` does that reads manifests and arrays, imported when it is first asked for.

A look at the log does without, and what is imported is most of what a command that only looks has
to wait for.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from holdfast.engine import journal
from holdfast.engine.belongings import take_along
from holdfast.engine.repair import repair
from holdfast.engine.resign import sign_checkpoint
from holdfast.engine.run_writer import Saved
from holdfast.engine.transfer import copy_checkpoint
from holdfast.errors import DataError, NotFound, StoreUnavailable, UsageError
from holdfast.format.commit import CommitRecord
from holdfast.history import catalog, retention
from holdfast.history.chain import head_of
from holdfast.history.curves import curves
from holdfast.history.diff.compare import Source, diff
from holdfast.history.health import examine
from holdfast.history.info import CheckpointInfo, info_of
from holdfast.history.log import told
from holdfast.history.metrics import read_metrics
from holdfast.history.refs import read_ref, resolve
from holdfast.history.retention import PruneReport, apply_retention
from holdfast.history.unpack import unpack
from holdfast.history.verify import verify
from holdfast.policy import KeepPolicy
from holdfast.records import commits
from holdfast.records.place import Place
from holdfast.security.authenticity import Authenticity
from holdfast.security.trust_policy import TrustPolicy
from holdfast.store.bundle import is_bundle_path, write_bundle
from holdfast.store.contract import ObjectStore
from holdfast.store.local import LocalStore
from holdfast.store.os_errors import translated

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
    store: ObjectStore, run: str, policy: KeepPolicy, trust: TrustPolicy | None, *, dry_run: bool
) -> PruneReport:
    """Remove the checkpoints of a run that a policy does not keep, and write it down.

    Raises:
        UsageError: No checkpoint has what the policy goes by; nothing was removed.
    """
    report = apply_retention(store, run, policy, dry_run=dry_run, trust=trust)
    _write_down(store, run, report, by="prune")
    return report


def remove(store: ObjectStore, ref: str) -> PruneReport:
    """Remove one checkpoint with its tags, and write it down.

    Raises:
        NotFound: The ref names no checkpoint.
    """
    report = retention.remove(store, ref)
    _write_down(store, report.removed[0][0].run, report, by="rm")
    return report


def _write_down(store: ObjectStore, run: str, report: PruneReport, *, by: str) -> None:
    """Write down what was removed. No process that trains did it, so the events name none."""
    if report.dry_run or not report.removed:
        return
    for info, why in report.removed:
        journal.record(store, run, "pruned", step=info.step, id=info.id, reason=why, by=by)
    n = len(report.removed)
    journal.record(store, run, "freed", bytes=report.freed_bytes, checkpoints=n, by=by)


def copy(source: Place, ref: str, target: Place) -> CheckpointInfo:
    """Copy a checkpoint into the run of the same name at another place, and sign it there.

    Its tags, names and notes go along, but for tags and names that are taken there.
    A place whose name ends in ``.holdfast`` becomes a bundle: one file.

    Raises:
        UsageError: Both places are the same, or the bundle is there already.
        Untrusted: The policy of the source does not believe it, or that of the target its signers.
        DataError: It is damaged; nothing was committed.
    """
    if is_bundle_path(target.at):
        return _bundle(source, ref, target)
    store, trust = source.open(), source.authenticity.trust
    run = resolve(store, ref, trust).run  # Before a store is made for it.
    other = target.open_to_save(run)
    if os.path.realpath(other.location) == os.path.realpath(store.location):
        raise UsageError("Both stores are the same place; there is nothing to copy.")

    def over(record: CommitRecord) -> CheckpointInfo:
        saved = copy_checkpoint(store, record, other, target.authenticity)
        _committed(other, saved, target.authenticity)
        take_along(store, record, other, saved.record)
        return told(other, saved.record, target.authenticity.trust)

    return read_ref(store, ref, over, trust)


def _bundle(source: Place, ref: str, target: Place) -> CheckpointInfo:
    """Copy a checkpoint into one file: a store of its own beside it, then that in a bundle."""
    if os.path.lexists(target.path):
        raise UsageError(
            f"There is something at {target.path!r} already. Nothing was changed. Remove it, or "
            "give the bundle another name.",
            path=target.path,
        )
    beside = os.path.dirname(target.path)
    if not os.path.isdir(beside):
        raise StoreUnavailable(
            f"There is no folder {beside!r} to put a bundle into. Nothing was changed.", path=beside
        )
    with translated("write", target.path):
        folder = tempfile.mkdtemp(prefix=".holdfast-bundle-", dir=beside)
    try:
        inside = replace(target, at=os.path.join(folder, "store"))
        info = copy(source, ref, inside)
        write_bundle(LocalStore(inside.path), target.path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return info


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
        return _committed(store, saved, authenticity)

    return read_ref(store, ref, again, authenticity.trust)


def _committed(store: ObjectStore, saved: Saved, authenticity: Authenticity) -> CheckpointInfo:
    catalog.note(store, saved.record.run)
    return info_of(saved.record, trust=authenticity.trust)
