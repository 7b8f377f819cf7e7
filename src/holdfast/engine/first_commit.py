"""What the other ranks do once their part is written: they look for the commit of rank 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from holdfast.engine.job import SaveJob
from holdfast.engine.waiting import ALONE_S, Waiting
from holdfast.errors import ChunkMissing, SaveFailed
from holdfast.format import lean
from holdfast.format.commit import CommitRecord
from holdfast.format.names import RunKeys
from holdfast.records import commits
from holdfast.store.contract import ObjectStore

# Rank 0 shall be the first to give up.
_LONGER_S = 30.0


@final
class FirstCommit:
    """The commits of a run, as ranks above 0 find them.

    Args:
        store: Where the run is.
        run: Its name.
        patience_s: How long to wait for rank 0.
        is_orphaned: Says whether this rank's trainer is gone.
    """

    def __init__(
        self, store: ObjectStore, run: str, patience_s: float, is_orphaned: Callable[[], bool]
    ) -> None:
        self._store = store
        self._keys = RunKeys(run)
        self._run = run
        self._patience_s = patience_s + _LONGER_S
        self._is_orphaned = is_orphaned

    def has_written(self, job: SaveJob) -> bool:
        """Say whether this rank's part is there: its persister died after it was."""
        return self._store.exists(self._keys.part(job.id, job.rank))

    def wait(self, job: SaveJob, above: int) -> tuple[CommitRecord, bytes]:
        """Wait for rank 0's commit; return it, and its bytes.

        Where rank 0 finds that this rank does not have its state, it takes this rank's part away to
        ask for the whole tree, and its own part is still there; it gets it, once.

        Args:
            job: The save.
            above: The number of a commit that was there before.

        Raises:
            SaveFailed: Rank 0 has given it up, or did not come; ``given_up`` says which.
        """
        alone_s = ALONE_S + _LONGER_S
        waiting = Waiting(self._patience_s, self._is_orphaned, alone_s, job.world_size)
        has_answered = False
        while waiting.goes_on(None):
            if (found := self._committed(job, above)) is not None:
                return found
            # Rank 0 takes the parts of what it gives up away, its own first.
            is_gone = not self.has_written(job)
            if is_gone and not has_answered and self._store.exists(self._keys.part(job.id, 0)):
                self._store.put(self._keys.part(job.id, job.rank), lean.answer(job.plan))
                has_answered = True
                continue
            if has_answered and not is_gone:
                is_gone = not self._store.exists(self._keys.part(job.id, 0))
            if is_gone and self._committed(job, above) is None:
                raise SaveFailed(
                    f"Step {job.step} was not saved: rank 0 has given it up, and says why. "
                    "Checkpoints committed before are safe.",
                    step=job.step,
                    given_up=True,
                )
        raise SaveFailed(
            f"Step {job.step} of rank {job.rank} is durable, but rank 0 had not committed it after "
            f"{waiting.so_far_s:.0f} s. Checkpoints committed before are safe.",
            step=job.step,
            given_up=False,
        )

    def _committed(self, job: SaveJob, above: int) -> tuple[CommitRecord, bytes] | None:
        for seq in reversed(commits.sequence_numbers(self._store, self._run)):
            if seq <= above:
                return None
            try:
                record = commits.read_commit(self._store, self._run, seq)
                if record.id == job.id:
                    return record, self._store.get(self._keys.commit(seq))
            except ChunkMissing:
                continue
        return None
