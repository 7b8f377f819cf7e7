"""Refs: ``RUN@STEP``, ``RUN@latest``, ``RUN@best:METRIC[:max]``, ``RUN@TAG``, ``RUN@ID``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from holdfast.errors import (
    DataError,
    InvalidName,
    ManifestDamaged,
    NotFound,
    RestoreIncomplete,
    StoreTooNew,
    StoreUnavailable,
)
from holdfast.format.commit import CommitRecord
from holdfast.format.names import check_run
from holdfast.history import catalog
from holdfast.history.chain import objection, require_head, trusted
from holdfast.history.known import require_run
from holdfast.history.meaning import LATEST, apart, meant
from holdfast.history.missing import missing_commits
from holdfast.records import commits, tags
from holdfast.records.commits import DamagedCommit
from holdfast.security.trust_policy import TrustPolicy, untrusted
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")

# How often a ref is looked up again because what it named was removed meanwhile.
ATTEMPTS = 20
_T = TypeVar("_T")


def split_ref(ref: object) -> tuple[str, str]:
    """Return run and checkpoint of a ref.

    >>> split_ref("gpt2@best:val_loss")
    ('gpt2', 'best:val_loss')
    """
    if not isinstance(ref, str) or ref.count("@") != 1 or ref.endswith("@"):
        raise InvalidName(
            f"{ref!r} is no ref. Write RUN@STEP, RUN@latest, RUN@best:METRIC (lowest; "
            "best:METRIC:max for highest) or RUN@TAG.",
            name=ref,
        )
    run, _, what = ref.partition("@")
    return check_run(run), what


def resolve(store: ObjectStore, ref: str, trust: TrustPolicy | None = None) -> CommitRecord:
    """Return the commit that a ref names.

    ``latest`` is the newest commit that can be read; whether its chunks verify, a restore finds
    out. A step that was saved several times means the newest save of it; ids tell them apart. With
    a policy, a ref names among the trusted ones; what is stepped over is told in a warning, and so
    are checkpoints that have lost their commit and might have been meant.

    Raises:
        NotFound: There is no such run or checkpoint.
        InvalidName: It is no ref.
        ManifestDamaged: The tag that it names is damaged; or the checkpoint has lost its commit.
        Untrusted: There is such a checkpoint, but none that the policy trusts.
        RolledBack: The run is not what the policy's head says.
    """
    run, what = split_ref(ref)
    require_run(store, run)
    try:
        found = _resolved(store, ref, trust)
    except NotFound as error:
        tag = tags.find(store, run, what)
        for lost in reversed(missing_commits(store, run)):
            if what in (LATEST, str(lost.step), lost.id) or (tag and tag.checkpoint_id == lost.id):
                raise ManifestDamaged(
                    lost.problem, run=run, step=lost.step, lost=lost.id
                ) from error
        raise
    if what == LATEST or what.startswith("best:"):
        for lost in missing_commits(store, run, catalog.checkpoints):
            if what != LATEST or lost.seq > found.seq:
                _log.warning("%s means %s@%s, but: %s", ref, run, found.step, lost.problem)
    return found


def _resolved(store: ObjectStore, ref: str, trust: TrustPolicy | None) -> CommitRecord:
    run, what = split_ref(ref)
    # A policy judges signatures, which only the records have.
    if trust is None and (record := _by_catalog(store, run, what)) is not None:
        return record
    everything = list(commits.all_commits(store, run))
    if any(isinstance(found, CommitRecord) or found.is_too_new for found in everything):
        require_head(run, everything, trust)
    records, damaged = apart(_without_strangers(run, everything, trust))
    first = meant(store, run, what, records, damaged)
    good = trusted(records, trust)
    if trust is None or len(good) == len(records):
        return first
    error = untrusted(first, trust.judge(first))
    try:
        found = meant(store, run, what, good, damaged) if good else None
    except (NotFound, ManifestDamaged, StoreTooNew):
        found = None
    if found is None:
        raise error
    if found is not first:
        _log.warning(
            "%s means %s@%s, since a newer or better one was stepped over: %s",
            ref,
            run,
            found.step,
            error,
        )
    return found


def find_by_id(store: ObjectStore, run: str, step: int, checkpoint_id: str) -> CommitRecord:
    """Return the commit of a run that has an id.

    Raises:
        NotFound: There is none, or none any more.
    """
    for found in reversed(catalog.checkpoints(store, run)):
        if not isinstance(found, DamagedCommit) and found.id == checkpoint_id:
            return commits.read_commit(store, run, found.seq)
    raise NotFound(
        f"{run}@{step} ({checkpoint_id}) is not in this store, or not any more. If another store "
        "has it, 'holdfast copy' brings it here.",
        run=run,
        id=checkpoint_id,
    )


def _by_catalog(store: ObjectStore, run: str, what: str) -> CommitRecord | None:
    with suppress(DataError):
        chosen = meant(store, run, what, *apart(catalog.checkpoints(store, run)))
        record = commits.read_commit(store, run, chosen.seq)
        if record.id == chosen.id:
            return record
    # What was removed or damaged meanwhile, or damaged all along, the store itself says best.
    return None


def _without_strangers(
    run: str, found: list[CommitRecord | DamagedCommit], trust: TrustPolicy | None
) -> list[CommitRecord | DamagedCommit]:
    """Leave out, with a warning, what is too new to be read and not trusted either."""
    strange: list[CommitRecord | DamagedCommit] = []
    for item in found if trust is not None else ():
        if isinstance(item, DamagedCommit) and item.is_too_new:
            doubt = objection(run, item, trust)
            if doubt is not None:
                _log.warning("It was stepped over: %s", doubt)
                strange.append(item)
    return [item for item in found if item not in strange]


def read_ref(
    store: ObjectStore,
    ref: str,
    read: Callable[[CommitRecord], _T],
    trust: TrustPolicy | None = None,
) -> _T:
    """Return what read gives of the checkpoint that a ref names.

    A checkpoint that is removed while it is being read is not damaged: the ref is looked up again.

    Raises:
        Untrusted: The policy trusts no checkpoint that the ref could mean.
        NotFound: The ref names no checkpoint, or none any more.
    """
    for _ in range(ATTEMPTS):
        record = resolve(store, ref, trust)
        try:
            return read(record)
        except RestoreIncomplete:
            raise
        except DataError:
            if commits.is_listed(store, record.run, record.seq, record.id):
                raise
    raise removed_too_fast(split_ref(ref)[0])


def removed_too_fast(run: str) -> StoreUnavailable:
    """Return the error for a run whose checkpoints are gone before they can be read."""
    return StoreUnavailable(
        f"The checkpoints of run {run!r} are removed faster than they can be read: {ATTEMPTS} "
        "were gone half-way. Nothing was changed. Keep more of them, with keep.last(3) say.",
        run=run,
    )
