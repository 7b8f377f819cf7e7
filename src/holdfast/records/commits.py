"""Commits and parts as they lie in a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.errors import (
    ChunkMissing,
    DataError,
    HoldfastError,
    ManifestDamaged,
    StoreTooNew,
)
from holdfast.format import commit as commit_format
from holdfast.format.commit import MAX_NUMBER, CommitRecord, PartRef
from holdfast.format.digests import digest
from holdfast.format.names import RUNS_PREFIX, RunKeys, run_of_component
from holdfast.store.contract import ObjectStore

if TYPE_CHECKING:
    from holdfast.format import part as part_format

_ATTEMPTS = 20
# How often a listing that is empty is looked at again: what it shows may have been removed, and
# what came instead have been too late for it.
EMPTY_LOOKS = 2


@dataclass(frozen=True, slots=True)
class DamagedCommit:
    """A commit record that cannot be read: where it lies, and why; damaged, or too new."""

    key: str
    seq: int
    error: HoldfastError

    @property
    def is_too_new(self) -> bool:
        """Whether nothing is wrong with it, but that this version cannot read it."""
        return isinstance(self.error, StoreTooNew)

    @property
    def stand_in(self) -> CommitRecord | None:
        """Of one that is too new, a record by which to judge its signatures and its place."""
        found = self.error.stand_in if isinstance(self.error, StoreTooNew) else None
        return replace(found, seq=self.seq) if isinstance(found, CommitRecord) else None


def runs(store: ObjectStore) -> list[str]:
    """Return the names of the runs, sorted."""
    return sorted(run_of_component(name) for name in store.folders(RUNS_PREFIX))


def sequence_numbers(store: ObjectStore, run: str) -> list[int]:
    """Return the sequence numbers of a run's commits, rising."""
    keys, numbers = RunKeys(run), []
    for info in store.list(keys.commits):
        name = info.key.rsplit("/", 1)[-1]
        # What is not written as numbers of commits are is none: a copy under ``1``, say.
        if name.isdecimal() and info.key == keys.commit(seq := int(name)) and seq <= MAX_NUMBER:
            numbers.append(seq)
    return sorted(numbers)


def read_commit(store: ObjectStore, run: str, seq: int) -> CommitRecord:
    """Return a commit, checked against its digest and its own name.

    Raises:
        ChunkMissing: It is not there.
        ManifestDamaged: It is damaged, or another one's bytes.
    """
    key = RunKeys(run).commit(seq)
    what = f"commit {seq} of run {run!r}"
    record = commit_format.decode(store.get(key), what=what)
    if record.run != run or record.seq != seq:
        raise ManifestDamaged(
            f"{what} ({key}) is the record of {record.run!r}, commit {record.seq}: the file was "
            "moved or copied over. It is not used.",
            record=what,
        )
    return record


def is_listed(store: ObjectStore, run: str, seq: int, checkpoint_id: str) -> bool:
    """Say whether the commit of that number is there and may be the checkpoint's."""
    try:
        return read_commit(store, run, seq).id == checkpoint_id
    except ChunkMissing:
        return False
    except DataError:
        return True


def all_commits(store: ObjectStore, run: str) -> Iterator[CommitRecord | DamagedCommit]:
    """Yield a run's commits in order, damaged ones as such, without those deleted meanwhile.

    Where all that were listed are deleted before they are read, those that came are read instead:
    a run that has checkpoints at every moment is never found empty.
    """
    for attempt in range(_ATTEMPTS):
        numbers = sequence_numbers(store, run)
        is_found = False
        for seq in numbers:
            try:
                yield read_commit(store, run, seq)
            except ChunkMissing:
                continue
            except DataError as error:
                yield DamagedCommit(RunKeys(run).commit(seq), seq, error)
            is_found = True
        if is_found or (not numbers and attempt >= EMPTY_LOOKS):
            return


def good_commits(store: ObjectStore, run: str) -> list[CommitRecord]:
    """Return a run's readable commits in order."""
    return [c for c in all_commits(store, run) if isinstance(c, CommitRecord)]


def read_part(store: ObjectStore, record: CommitRecord, ref: PartRef) -> part_format.Part:
    """Return a part of a checkpoint, checked against the digest in the commit.

    Raises:
        ChunkMissing: The manifest is not there.
        ManifestDamaged: It is damaged or belongs to another checkpoint.
    """
    # Here, since it takes long to import and lists of commits do without it.
    from holdfast.format import part as part_format

    what = f"the manifest of {record.run}@{record.step}, rank {ref.rank}"
    data = store.get(ref.key)
    if digest(data) != ref.digest:
        raise ManifestDamaged(
            f"{what} ({ref.key}) is damaged: digest expected {ref.digest.hex()[:12]}…, "
            f"found {digest(data).hex()[:12]}…. Nothing was loaded from it. Restore another "
            "checkpoint ('holdfast verify' tells which are good) or run 'holdfast repair'.",
            record=what,
        )
    part = part_format.decode(data, what=what)
    found = (part.run, part.step, part.checkpoint_id, part.rank, part.world_size)
    if found != (record.run, record.step, record.id, ref.rank, record.world_size):
        raise ManifestDamaged(f"{what} belongs to another checkpoint.", record=what)
    return part
