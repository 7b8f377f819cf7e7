"""What a ``Store`` does that reads manifests and arrays, imported when it is first asked for.

A look at the log does without, and what is imported is most of what a command that only looks has
to wait for.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.engine.repair import repair
from holdfast.engine.resign import sign_checkpoint
from holdfast.engine.run_writer import Saved
from holdfast.engine.transfer import copy_checkpoint
from holdfast.errors import DataError, NotFound, UsageError
from holdfast.format.commit import CommitRecord
from holdfast.history import catalog
from holdfast.history.chain import head_of
from holdfast.history.curves import curves
from holdfast.history.diff.compare import Source, diff
from holdfast.history.health import examine
from holdfast.history.info import CheckpointInfo, info_of
from holdfast.history.leaves import leaves
from holdfast.history.metrics import read_metrics
from holdfast.history.refs import read_ref, resolve
from holdfast.history.retention import apply_retention, remove
from holdfast.history.unpack import unpack
from holdfast.history.verify import verify
from holdfast.policy import KeepPolicy
from holdfast.records import commits
from holdfast.records.place import Place
from holdfast.security.authenticity import Authenticity
from holdfast.security.trust_policy import TrustPolicy
from holdfast.store.contract import ObjectStore

__all__ = [
    "KeepPolicy",
    "Source",
    "apply_retention",
    "copy",
    "curves",
    "diff",
    "examine",
    "head_of",
    "leaves",
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


def copy(source: Place, ref: str, target: Place) -> CheckpointInfo:
    """Copy a checkpoint into the run of the same name at another place, and sign it there.

    Raises:
        UsageError: Both places are the same.
        Untrusted: The policy of the source does not believe it, or that of the target its signers.
        DataError: It is damaged; nothing was committed.
    """
    store, trust = source.open(), source.authenticity.trust
    run = resolve(store, ref, trust).run  # Before a store is made for it.
    other = target.open_to_save(run)
    if os.path.realpath(other.location) == os.path.realpath(store.location):
        raise UsageError("Both stores are the same place; there is nothing to copy.")

    def over(record: CommitRecord) -> CheckpointInfo:
        saved = copy_checkpoint(store, record, other, target.authenticity)
        return _committed(other, saved, target.authenticity)

    return read_ref(store, ref, over, trust)


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
