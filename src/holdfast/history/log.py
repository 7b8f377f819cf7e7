"""The log of a run: its readable checkpoints in order, with their tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.format.commit import CommitRecord
from holdfast.history import catalog
from holdfast.history.chain import contradiction
from holdfast.history.info import CheckpointInfo, info_of
from holdfast.history.known import require_run
from holdfast.history.lineage import Branch, forest
from holdfast.history.summary import RunSummary, summary_of
from holdfast.records import commits, marker, notes, tags
from holdfast.records.commits import DamagedCommit
from holdfast.records.notes import Annotations
from holdfast.security.trust_policy import TrustPolicy
from holdfast.store.contract import ObjectStore


@dataclass(frozen=True, slots=True)
class RunLog:
    """What there is to tell of a run.

    Attributes:
        checkpoints: Those that can be read, oldest first.
        damaged: Why commits that cannot be read cannot.
        written: What was written about the run.
        set_back: How it contradicts the head that the trust policy knows of it; None: it does not.
    """

    checkpoints: Sequence[CheckpointInfo]
    damaged: Sequence[str]
    written: Annotations
    set_back: str | None = None

    def _repr_html_(self) -> str:
        """What notebooks show."""
        from holdfast.history.cards.run import run_card

        return run_card(self)


def log(store: ObjectStore, run: str, trust: TrustPolicy | None = None) -> RunLog:
    """Return what there is to tell of a run; what the catalog knows is not read again.

    With a policy each checkpoint says whether it is trusted, and the run whether it was set back.

    Raises:
        NotFound: There is no such run.
    """
    require_run(store, run)
    names, written = tags.tags_by_checkpoint(store, run), notes.of_run(store, run)
    found, set_back = _found(store, run, trust)
    damaged = [str(item.error) for item in found if isinstance(item, DamagedCommit)]
    infos = [item for item in found if isinstance(item, CheckpointInfo)]
    told = [_with_names(info, names.get(info.id, ()), written.get(info.id)) for info in infos]
    return RunLog(told, damaged, written.get(None, Annotations()), set_back)


def summarize(store: ObjectStore, run: str, trust: TrustPolicy | None = None) -> RunSummary:
    """Return what there is to say of a run in a line.

    Raises:
        NotFound: There is no such run.
    """
    require_run(store, run)
    if trust is not None:
        history = log(store, run, trust)
        made = summary_of(history.checkpoints, history.damaged)
        return replace(made, set_back=history.set_back)
    found = catalog.summary(store, run)
    if found.latest is None:
        return found
    names = tags.tags_by_checkpoint(store, run).get(found.latest.id, ())
    written = notes.of_run(store, run).get(found.latest.id)
    return replace(found, latest=_with_names(found.latest, names, written))


def lineage(store: ObjectStore, trust: TrustPolicy | None = None) -> list[Branch]:
    """Return all runs at a glance, each below the one that it was forked from."""
    runs = {run: summarize(store, run, trust) for run in commits.runs(store)}
    return forest(runs, marker.store_id(store))


def _found(
    store: ObjectStore, run: str, trust: TrustPolicy | None
) -> tuple[list[CheckpointInfo | DamagedCommit], str | None]:
    if trust is None:
        return catalog.checkpoints(store, run), None
    # A policy judges signatures, which only the records have.
    records = list(commits.all_commits(store, run))
    infos = [c if isinstance(c, DamagedCommit) else info_of(c, trust=trust) for c in records]
    return infos, contradiction(run, records, trust)


def read_log(
    store: ObjectStore, run: str, trust: TrustPolicy | None = None
) -> list[CheckpointInfo]:
    """Return a run's checkpoints, oldest first, every commit read: for who decides what goes.

    With a policy each says whether it is trusted.

    Raises:
        NotFound: There is no such run.
    """
    require_run(store, run)
    by_id = tags.tags_by_checkpoint(store, run)
    return [info_of(c, by_id.get(c.id, ()), trust) for c in commits.good_commits(store, run)]


def _with_names(
    info: CheckpointInfo, names: tuple[str, ...], written: Annotations | None
) -> CheckpointInfo:
    if not names and written is None:
        return info
    written = written or Annotations()
    return replace(info, tags=names, notes=written.texts, values=written.values)


def told(
    store: ObjectStore, record: CommitRecord, trust: TrustPolicy | None = None
) -> CheckpointInfo:
    """Return what users are told of a commit, with its names and what was written on it."""
    names = tags.tags_by_checkpoint(store, record.run).get(record.id, ())
    return info_of(record, names, trust, notes.of_run(store, record.run).get(record.id))


def judged_with_its_run(
    store: ObjectStore, info: CheckpointInfo, trust: TrustPolicy | None
) -> CheckpointInfo:
    """Return what is told of a checkpoint, not trusted where its run was set back."""
    problem = contradiction(info.run, commits.all_commits(store, info.run), trust)
    if problem is None or info.trust is None or not info.trust.trusted:
        return info
    return replace(info, trust=replace(info.trust, trusted=False, why=problem))
