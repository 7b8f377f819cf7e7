"""Checkpoints that were saved and not removed, and whose commit record is gone all the same.

A checkpoint without its commit does not exist for anybody who reads, and its packs would be swept
like those of a save that never ended. The journal of the run knows better: it says what became
durable, and what is removed it names before. Where it says the one and not the other, and the
manifests are there, the commit was lost: that is told, and nothing of the checkpoint is swept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from typing import Protocol

from holdfast.errors import ChunkMissing
from holdfast.format.commit import CommitRecord
from holdfast.format.names import RunKeys, checkpoint_of
from holdfast.records import commits, journal, pins
from holdfast.records.commits import DamagedCommit
from holdfast.store.contract import ObjectStore


class _Listed(Protocol):
    """A checkpoint that has its commit."""

    @property
    def id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Missing:
    """A checkpoint without its commit record.

    Attributes:
        run: Its run.
        step: The step that it was saved at.
        id: What its parts are named by.
        seq: The number of its commit.
    """

    run: str
    step: int
    id: str
    seq: int

    @property
    def key(self) -> str:
        """Where the record should be."""
        return RunKeys(self.run).commit(self.seq)

    @property
    def stand_in(self) -> CommitRecord:
        """A record that names it, and nothing of what it had."""
        return CommitRecord(self.run, self.step, self.id, self.seq, 0, (), "")

    @property
    def problem(self) -> str:
        """What is wrong, what is safe, and what can be done."""
        return (
            f"The commit record of {self.run}@{self.step} ({self.key}) "
            "is missing: the run's journal says that it was saved, and not that it was removed. "
            "Its data is there, and is kept. 'holdfast repair --from' brings the record back from "
            "a copy of the store; 'holdfast rm --yes' gives the checkpoint up."
        )


def missing_commits(
    store: ObjectStore,
    run: str,
    list_commits: Callable[
        [ObjectStore, str], Iterable[_Listed | DamagedCommit]
    ] = commits.all_commits,
) -> list[Missing]:
    """Return the checkpoints of a run that have lost their commit, in the order of their saves.

    Where a commit record is damaged nothing is said: it may be the one that is missed.

    Args:
        store: The store.
        run: The run.
        list_commits: What tells of the commits that are there: the store, or its catalog.
    """
    ids = _with_manifests(store, run)
    return _missing_among(store, run, ids, list(list_commits(store, run)))


def all_commits(store: ObjectStore, run: str) -> list[CommitRecord | DamagedCommit]:
    """Return a run's commits in order, damaged ones as such, and so those that were lost."""
    ids = _with_manifests(store, run)
    listed = list(commits.all_commits(store, run))
    taken = {commit.seq for commit in listed}
    lost = [
        DamagedCommit(missing.key, missing.seq, ChunkMissing(missing.problem, key=missing.key))
        for missing in _missing_among(store, run, ids, listed)
        if missing.seq not in taken
    ]
    return sorted([*listed, *lost], key=lambda commit: commit.seq)


def _with_manifests(store: ObjectStore, run: str) -> set[str]:
    # To be asked before the commits are: what is saved meanwhile has its commit then.
    return {checkpoint_of(info.key) for info in store.list(RunKeys(run).parts)}


def _missing_among(
    store: ObjectStore, run: str, ids: Set[str], found: Iterable[_Listed | DamagedCommit]
) -> list[Missing]:
    without = set(ids)
    for commit in found:
        if isinstance(commit, DamagedCommit):
            # It may be the one that is missed.
            return []
        without.discard(commit.id)
    # Of what is being saved the journal need not be asked: that is usual, and takes its time.
    if without:
        without -= {pin.checkpoint_id for pin in pins.all_pins(store, run)}
    suspects = told_saved(store, run, without)
    if not suspects:
        return []
    # One that was being committed or removed meanwhile is listed now, or is said to be removed.
    listed = {commit.id for commit in commits.good_commits(store, run)}
    return told_saved(store, run, {missing.id for missing in suspects} - listed)


def told_saved(store: ObjectStore, run: str, ids: Set[str]) -> list[Missing]:
    """Return which of some checkpoints a run's journal says were saved, and not removed."""
    if not ids:
        return []
    kept = journal.saved_and_kept(store, run, ids)
    return [Missing(run, saved.step, saved.id, saved.seq) for saved in kept]
