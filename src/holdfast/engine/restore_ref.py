"""Which checkpoint is restored: the one that a ref names, or the newest that is good."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from holdfast.engine.restore import Outcome, Wanted, restore_checkpoint
from holdfast.engine.tiers.kinds import HOME
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
from holdfast.history import missing
from holdfast.history.chain import objection, require_head
from holdfast.history.known import require_run
from holdfast.history.meaning import LATEST
from holdfast.history.refs import ATTEMPTS, read_ref, removed_too_fast, split_ref
from holdfast.records import commits
from holdfast.records.commits import DamagedCommit
from holdfast.security.trust_policy import TrustPolicy
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")


class RemovedMeanwhile(Exception):
    """Retention took a checkpoint while it was being read; there are newer ones."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A checkpoint that may be restored.

    Attributes:
        store: Where it is.
        found: Its commit.
        tier: What that place is called.
        trust: Whom to believe there, where it ``has_own_trust``; else as is wanted.
    """

    store: ObjectStore
    found: CommitRecord | DamagedCommit
    tier: str = HOME
    trust: TrustPolicy | None = None
    has_own_trust: bool = False


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
        with suppress(RemovedMeanwhile):
            return _restore_newest(store, run, wanted, damaged)
    raise removed_too_fast(run)


def _restore_newest(
    store: ObjectStore, run: str, wanted: Wanted, damaged: dict[str, str]
) -> Outcome | None:
    listed = missing.all_commits(store, run)
    require_head(run, listed, wanted.trust)
    return restore_first(
        run, [Candidate(store, found) for found in reversed(listed)], wanted, damaged
    )


def restore_first(
    run: str, candidates: Iterable[Candidate], wanted: Wanted, damaged: dict[str, str]
) -> Outcome | None:
    """Restore the first of some checkpoints that is good.

    Args:
        run: The run.
        candidates: The checkpoints, best first.
        wanted: What to restore, into what.
        damaged: What was stepped over so far, by place; more is noted here.

    Returns:
        None where there is no candidate at all.

    Raises:
        RemovedMeanwhile: Retention took one while it was being read; there are newer ones.
        NoGoodCheckpoint: None is good.
    """
    for candidate in candidates:
        store, found = candidate.store, candidate.found
        key = f"{store.location}\0{RunKeys(run).commit(found.seq)}"
        if key in damaged:
            continue
        judged = replace(wanted, trust=candidate.trust) if candidate.has_own_trust else wanted
        try:
            if isinstance(found, DamagedCommit):
                raise objection(run, found, judged.trust) or found.error
            outcome = restore_checkpoint(store, found, judged)
        except (StoreTooNew, RestoreIncomplete):
            raise
        except (DataError, StoreUnavailable) as error:
            is_near = candidate.tier == HOME
            if is_near and isinstance(error, StoreUnavailable) and not _is_bad_disk(error):
                raise
            if isinstance(found, CommitRecord) and not _may_be_listed(store, run, found):
                raise RemovedMeanwhile from error
            damaged[key] = _say_damaged(run, candidate, error)
            continue
        if damaged:
            where = "" if candidate.tier == HOME else f" (from the tier {candidate.tier!r})"
            _log.warning("Restored %s@%s%s, the newest good one.", run, outcome.record.step, where)
        return replace(outcome, stepped_over=tuple(damaged.values()), tier=candidate.tier)
    if damaged:
        raise none_good(run, list(damaged.values()))
    return None


def _is_bad_disk(error: StoreUnavailable) -> bool:
    return error.facts.get("errno") == errno.EIO


def _may_be_listed(store: ObjectStore, run: str, record: CommitRecord) -> bool:
    try:
        return commits.is_listed(store, run, record.seq, record.id)
    except StoreUnavailable:
        return True


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


def _say_damaged(run: str, candidate: Candidate, error: HoldfastError) -> str:
    found = candidate.found
    name = f"{run}@{found.step}" if isinstance(found, CommitRecord) else found.key
    if candidate.tier != HOME:
        name += f" in the tier {candidate.tier!r}"
    what = " is damaged and" if isinstance(error, DataError) else " cannot be read and"
    what = "" if isinstance(error, Untrusted) else what
    text = f"{name}{what} was stepped over: {error}"
    _log.warning("%s", text)
    return text
