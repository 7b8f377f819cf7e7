"""What the other ranks do once their part is written: they look for the commit of rank 0."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import final

from holdfast.engine import given_up
from holdfast.engine.behind import OTHERS_S, Behind, is_given_up_for, nothing_behind
from holdfast.engine.elsewhere import Elsewhere, Gone
from holdfast.engine.job import SaveJob
from holdfast.engine.waiting import ALONE_S, Waiting
from holdfast.errors import ChunkMissing, DataError, SaveFailed
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
        # Of the commits that were read, their ids and incarnations.
        self._seen: dict[int, tuple[str, str]] = {}
        self._elsewhere = Elsewhere(store, run)

    def has_written(self, job: SaveJob) -> bool:
        """Say whether this rank's part is there: its persister died after it was."""
        return self._store.exists(self._keys.part(job.id, job.rank))

    def show_again(self, job: SaveJob) -> None:
        """Let rank 0 see the part of a persister that died before it could tell all hosts of it."""
        if tell := getattr(self._store, "tell_again", None):
            tell(self._keys.part(job.id, job.rank))

    def wait(
        self,
        job: SaveJob,
        since_s: float | None = None,
        behind: Behind = nothing_behind,
        require_ours: Callable[[SaveJob], None] = lambda job: None,
    ) -> tuple[CommitRecord, bytes]:
        """Wait for rank 0's commit; return it, and its bytes.

        Where rank 0 finds that this rank does not have its state, it takes this rank's part away to
        ask for the whole tree, and its own part is still there; it gets it, once.

        Args:
            job: The save.
            since_s: When this rank had written its part, on the monotonic clock; None: now.
            behind: Tells which saves of this rank wait behind this one.
            require_ours: Raises ``RunBusy`` where another training has taken the run.

        Raises:
            SaveFailed: Rank 0 has given it up, or did not come; ``given_up`` says which.
        """
        alone_s = ALONE_S + _LONGER_S
        waiting = Waiting(self._patience_s, self._is_orphaned, alone_s, since_s, job.world_size)
        has_answered = has_looked = False
        gone: Gone | None = None
        began_s = time.monotonic()
        while waiting.goes_on(None):
            # Before the commits are looked at: what was taken away since then was so for a commit.
            is_there = self.has_written(job)
            later = behind()
            if (found := self._committed(job)) is not None:
                return found
            require_ours(job)
            # Rank 0 takes the parts of what it gives up away, its own first.
            if not is_there and not has_answered and self._store.exists(self._keys.part(job.id, 0)):
                self._store.put(self._keys.part(job.id, job.rank), lean.answer(job.plan))
                has_answered = True
                continue
            if has_answered and is_there:
                is_there = self._store.exists(self._keys.part(job.id, 0))
            # It commits one after the other.
            if not is_there or self._is_past(later):
                raise given_up.why(self._store, self._keys, job) or given_up.over(job)
            # Its note is there before parts are taken away: one look, after ours was put, will do.
            if not has_looked and (told := given_up.why(self._store, self._keys, job)) is not None:
                raise told
            has_looked = True
            if gone is not None:
                self._refuse_skipped(job, gone)
            gone = self._elsewhere.gone(job, (0,), later)
            is_slow = time.monotonic() - began_s < OTHERS_S
            if is_given_up_for(later, job.rank) and not is_slow:
                break
        raise SaveFailed(
            f"Step {job.step} of rank {job.rank} is durable, but rank 0 had not committed it after "
            f"{waiting.so_far_s:.0f} s. Checkpoints committed before are safe.",
            step=job.step,
            given_up=False,
        )

    def _refuse_skipped(self, job: SaveJob, gone: Gone) -> None:
        """Raise where rank 0 has gone on without this save, unless it has come since."""
        if not self._store.exists(self._keys.part(job.id, 0)):
            told = given_up.why(self._store, self._keys, job)
            raise told or given_up.over(job, _skipped(job, gone))

    def _committed(self, job: SaveJob) -> tuple[CommitRecord, bytes] | None:
        for seq in reversed(commits.sequence_numbers(self._store, self._run)):
            try:
                found, incarnation = self._look_at(seq)
                if found == job.id:
                    record = commits.read_commit(self._store, self._run, seq)
                    return record, self._store.get(self._keys.commit(seq))
            except ChunkMissing:
                continue
            if incarnation not in ("", job.incarnation):
                # All before it are older than this training.
                return None
        return None

    def _look_at(self, seq: int) -> tuple[str, str]:
        """Return id and incarnation of a commit; empty ones of one that is damaged."""
        if seq not in self._seen:
            try:
                record = commits.read_commit(self._store, self._run, seq)
                self._seen[seq] = record.id, record.incarnation
            except ChunkMissing:
                raise
            except DataError:
                self._seen[seq] = "", ""
        return self._seen[seq]

    def _is_past(self, later: Sequence[SaveJob]) -> bool:
        """Say whether rank 0 has committed a later save, as far as was seen."""
        known = {checkpoint_id for checkpoint_id, _ in self._seen.values()}
        return any(job.id in known for job in later)


def _skipped(job: SaveJob, gone: Gone) -> str:
    return (
        f"Step {job.step} was not saved: rank {job.rank} saved it, and rank 0 saved step "
        f"{gone.step} without it. All ranks must save the same steps. Checkpoints committed "
        "before are safe."
    )
