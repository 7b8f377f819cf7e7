"""How a checkpoint of several ranks comes about, with nothing said between them.

Each rank writes its part when it is ready. Rank 0 commits once the parts of all are there and fit
together; the others look for that commit. A rank that does not come leaves no checkpoint: what was
written for it goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from holdfast.engine.job import SaveJob
from holdfast.errors import ChunkMissing, SaveFailed
from holdfast.format import part as part_format
from holdfast.format.commit import CommitRecord, PartRef
from holdfast.format.digests import digest
from holdfast.format.names import RunKeys, checkpoint_of
from holdfast.format.part import Part
from holdfast.records import commits
from holdfast.records.whole import Disagreement, Whole, put_together
from holdfast.store.contract import ObjectStore

# How long for news from another one where the own trainer is gone: those that go on saving after a
# crash are done by then, and who starts the training again shall not wait for the others.
_ALONE_S = 10.0
# Those who wait for rank 0 let it be the first to give up.
_LONGER_S = 30.0
_FIRST_POLL_S, _LAST_POLL_S = 0.005, 0.5


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a checkpoint, all of them, and what they are together."""

    refs: tuple[PartRef, ...]
    state_bytes: int
    n_leaves: int
    new_bytes: int
    not_finite: int | None
    format: int


@final
class Joint:
    """The parts of other ranks, and the commit of rank 0.

    Args:
        store: Where the run is.
        run: Its name.
        patience_s: How long to wait for a rank.
        is_orphaned: Says whether this rank's trainer is gone.
    """

    def __init__(
        self, store: ObjectStore, run: str, patience_s: float, is_orphaned: Callable[[], bool]
    ) -> None:
        self._store = store
        self._keys = RunKeys(run)
        self._run = run
        self._patience_s = patience_s
        self._is_orphaned = is_orphaned

    # --- of rank 0 ---

    def parts(self, job: SaveJob) -> Parts:
        """Wait for the parts of all ranks; return them.

        Raises:
            SaveFailed: One did not come, or they do not fit together; the message names the rank.
        """
        found: dict[int, tuple[Part, PartRef]] = {}
        waiting = _Waiting(self._patience_s, self._is_orphaned)
        while waiting.goes_on(len(found)):
            for rank in range(job.world_size):
                if rank not in found and (read := self._read(job, rank)) is not None:
                    found[rank] = read
            if len(found) == job.world_size:
                return _checked(job, [found[rank] for rank in range(job.world_size)])
        absent = sorted(set(range(job.world_size)) - found.keys())
        raise SaveFailed(
            f"Step {job.step} was not saved: after {waiting.so_far_s:.0f} s nothing had come from "
            f"rank(s) {', '.join(map(str, absent))} of {job.world_size}. Are they alive, and do "
            "they save the same steps? Checkpoints committed before are safe.",
            step=job.step,
            ranks=",".join(map(str, absent)),
        )

    def _read(self, job: SaveJob, rank: int) -> tuple[Part, PartRef] | None:
        key = self._keys.part(job.id, rank)
        try:
            data = self._store.get(key)
        except ChunkMissing:
            return None
        part = part_format.decode(data, what=f"the manifest of rank {rank}")
        said = (part.run, part.step, part.checkpoint_id, part.rank, part.world_size)
        if said != (self._run, job.step, job.id, rank, job.world_size):
            raise SaveFailed(
                f"Step {job.step} was not saved: rank {rank} says that it is rank {part.rank} of "
                f"{part.world_size} at step {part.step}, this is {job.world_size} ranks.",
                step=job.step,
            )
        return part, PartRef(rank, key, digest(data), len(data))

    # --- of the others ---

    def has_written(self, job: SaveJob) -> bool:
        """Say whether this rank's part is there: its persister died after it was."""
        return self._store.exists(self._keys.part(job.id, job.rank))

    def commit(self, job: SaveJob, above: int) -> tuple[CommitRecord, bytes]:
        """Wait for rank 0's commit; return it, and its bytes.

        Args:
            job: The save.
            above: The number of a commit that was there before.

        Raises:
            SaveFailed: Rank 0 has given it up, or did not come; ``given_up`` says which.
        """
        was_there = False
        waiting = _Waiting(self._patience_s + _LONGER_S, self._is_orphaned, _ALONE_S + _LONGER_S)
        while waiting.goes_on(was_there):
            if (found := self._committed(job, above)) is not None:
                return found
            is_there = self._store.exists(self._keys.part(job.id, 0))
            if was_there and not is_there and self._committed(job, above) is None:
                raise SaveFailed(
                    f"Step {job.step} was not saved: rank 0 has given it up, and says why. "
                    "Checkpoints committed before are safe.",
                    step=job.step,
                    given_up=True,
                )
            was_there = was_there or is_there
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


class _Waiting:
    """Looks again and again, more and more seldom, until patience ends."""

    def __init__(
        self, patience_s: float, is_orphaned: Callable[[], bool], alone_s: float = _ALONE_S
    ) -> None:
        self._patience_s = patience_s
        self._is_orphaned = is_orphaned
        self._alone_s = alone_s
        self._began_s = self._news_s = time.monotonic()
        self._pause_s = 0.0
        self._known: object = None

    @property
    def so_far_s(self) -> float:
        """For how long it has waited."""
        return time.monotonic() - self._began_s

    def goes_on(self, known: object) -> bool:
        """Pause, and say whether to look once more.

        Args:
            known: What has come so far; something new is a reason to wait longer.
        """
        now_s = time.monotonic()
        if known != self._known:
            self._known, self._news_s = known, now_s
        if now_s - self._began_s > self._patience_s:
            return False
        if now_s - self._news_s > self._alone_s and self._is_orphaned():
            return False
        time.sleep(self._pause_s)
        self._pause_s = min(max(_FIRST_POLL_S, self._pause_s * 1.5), _LAST_POLL_S)
        return True


def _checked(job: SaveJob, found: Sequence[tuple[Part, PartRef]]) -> Parts:
    parts = [part for part, _ in found]
    try:
        whole = put_together(parts, 0, f"step {job.step}")
    except Disagreement as error:
        raise SaveFailed(
            f"Step {job.step} was not saved: the ranks do not have the same state. At "
            f"{error.path!r}, rank {error.rank}: {error.what}. What each rank has for itself is "
            "named by per_rank=.",
            step=job.step,
            path=error.path,
            rank=error.rank,
        ) from error
    counts = [row.not_finite for part in parts for row in part.arrays]
    looked = [count for count in counts if count is not None]
    return Parts(
        tuple(ref for _, ref in found),
        _bytes_of(parts),
        _leaves_of(whole),
        sum(_new_bytes(part, job.id) for part in parts),
        sum(looked) if looked else None,
        max(part_format.format_of(part.chunks) for part in parts),
    )


def _bytes_of(parts: Sequence[Part]) -> int:
    return sum(row.nbytes for part in parts for row in part.arrays)


def _leaves_of(whole: Whole) -> int:
    return sum(1 for _ in whole.root.leaves())


def _new_bytes(part: Part, checkpoint_id: str) -> int:
    packs: Mapping[str, int] = {pack.key: pack.length for pack in part.packs}
    return sum(n for key, n in packs.items() if checkpoint_of(key) == checkpoint_id)
