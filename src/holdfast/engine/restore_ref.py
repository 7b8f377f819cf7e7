"""Which checkpoint is restored: the one that a ref names, or the newest that is good."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from holdfast.engine.restore import Outcome, Wanted, restore_checkpoint
from holdfast.errors import (
    DataError,
    HoldfastError,
    NoGoodCheckpoint,
    RestoreIncomplete,
    StoreTooNew,
    StoreUnavailable,
    Untrusted,
)
from holdfast.format.commit import CommitRecord
from holdfast.format.names import RunKeys
from holdfast.history.chain import objection, require_head
from holdfast.history.log import require_run
from holdfast.history.meaning import LATEST
from holdfast.history.refs import ATTEMPTS, read_ref, removed_too_fast, split_ref
from holdfast.records import commits
from holdfast.records.commits import DamagedCommit
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")


class _RemovedMeanwhile(Exception):
    """Retention took a checkpoint while it was being read; there are newer ones."""


def restore_ref(store: ObjectStore, ref: str, wanted: Wanted) -> Outcome:
    """Restore what a ref names; for ``latest`` the newest checkpoint that is good.

    Raises:
        NotFound: It names nothing.
        DataError: Something of it is damaged or missing; nothing was changed.
        Mismatch: It does not fit; nothing was changed.
    """
    run, what = split_ref(ref)
    if what == LATEST:
        require_run(store, run)
        outcome = restore_latest(store, run, wanted)
        if outcome is not None:
            return outcome
    return read_ref(
        store, ref, lambda record: restore_checkpoint(store, record, wanted), wanted.trust
    )


def restore_named(
    store: ObjectStore, run: str, name: str | int | None, wanted: Wanted
) -> Outcome | None:
    """Restore what a run's own script names: a ref of any run, what follows ``@`` of its own run's.

    Returns:
        None where the run has no checkpoint at all, and none was named.
    """
    ref = None if name is None else str(name)
    if ref is None or ref in (LATEST, f"{run}@{LATEST}"):
        return restore_latest(store, run, wanted)
    return restore_ref(store, ref if "@" in ref else f"{run}@{ref}", wanted)


def restore_latest(store: ObjectStore, run: str, wanted: Wanted) -> Outcome | None:
    """Restore the newest checkpoint of a run that is good, stepping over those that are not.

    Returns:
        None where the run has no checkpoint at all.

    Raises:
        NoGoodCheckpoint: There are checkpoints, but none is good; nothing was changed.
        RolledBack: The run is not what the policy's head says; nothing was changed.
        Mismatch: The newest good one does not fit; nothing was changed.
    """
    damaged: dict[str, str] = {}
    for _ in range(ATTEMPTS):
        with suppress(_RemovedMeanwhile):
            return _restore_newest(store, run, wanted, damaged)
    raise removed_too_fast(run)


def _restore_newest(
    store: ObjectStore, run: str, wanted: Wanted, damaged: dict[str, str]
) -> Outcome | None:
    """Try the checkpoints that are listed now; note in ``damaged`` what is stepped over, by key."""
    listed = list(commits.all_commits(store, run))
    require_head(run, listed, wanted.trust)
    for found in reversed(listed):
        key = RunKeys(run).commit(found.seq)
        if key in damaged:
            continue
        try:
            if isinstance(found, DamagedCommit):
                raise objection(run, found, wanted.trust) or found.error
            outcome = restore_checkpoint(store, found, wanted)
        except (StoreTooNew, RestoreIncomplete):
            raise
        except (DataError, StoreUnavailable) as error:
            if isinstance(error, StoreUnavailable) and error.facts.get("errno") != errno.EIO:
                raise
            if isinstance(found, CommitRecord) and not commits.is_listed(
                store, run, found.seq, found.id
            ):
                raise _RemovedMeanwhile from error
            damaged[key] = _say_damaged(run, found, error)
            continue
        if damaged:
            _log.warning("Restored %s@%s, the newest good one.", run, outcome.record.step)
        return replace(outcome, stepped_over=tuple(damaged.values()))
    if damaged:
        raise none_good(run, list(damaged.values()))
    return None


def none_good(run: str, stepped_over: Sequence[str]) -> NoGoodCheckpoint:
    """Return the error that says of each checkpoint why it is not good."""
    listed = "\n  ".join(stepped_over)
    return NoGoodCheckpoint(
        f"Run {run!r} has {len(stepped_over)} checkpoint(s), none of which is good; nothing "
        f"was changed, and training did not silently begin anew.\n  {listed}\n"
        "Bring back a copy of the store, or begin anew under another run name.",
        run=run,
        stepped_over=tuple(stepped_over),
    )


def _say_damaged(run: str, found: CommitRecord | DamagedCommit, error: HoldfastError) -> str:
    name = f"{run}@{found.step}" if isinstance(found, CommitRecord) else found.key
    what = "" if isinstance(error, Untrusted) else " is damaged and"
    text = f"{name}{what} was stepped over: {error}"
    _log.warning("%s", text)
    return text
