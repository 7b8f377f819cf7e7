"""What rank 0 waits for before it commits: the parts of all ranks, which must fit together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from holdfast.engine.behind import Behind, is_given_up_for, nothing_behind
from holdfast.engine.job import SaveJob
from holdfast.engine.waiting import ALONE_S, Waiting
from holdfast.errors import ChunkMissing, SaveFailed
from holdfast.format import part as part_format
from holdfast.format.commit import PartRef
from holdfast.format.digests import digest
from holdfast.format.names import RunKeys, checkpoint_of
from holdfast.format.part import Part
from holdfast.records.whole import Disagreement, Whole, put_together
from holdfast.store.contract import ObjectStore


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
class OtherParts:
    """The parts of all ranks of a run, as rank 0 finds them.

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
        # Whether the last one was waited for in vain: no longer for others, once the trainer died.
        self._was_in_vain = False

    def wait(
        self, job: SaveJob, since_s: float | None = None, behind: Behind = nothing_behind
    ) -> Parts:
        """Wait for the parts of all ranks; return them.

        Args:
            job: The save.
            since_s: When this rank had written its own, on the monotonic clock; None: now.
            behind: Tells which saves of this rank wait behind this one.

        Raises:
            SaveFailed: One did not come, or they do not fit together; the message names the rank.
        """
        found: dict[int, tuple[Part, PartRef]] = {}
        alone_s = 0.0 if self._was_in_vain else ALONE_S
        waiting = Waiting(self._patience_s, self._is_orphaned, alone_s, since_s)
        self._was_in_vain = False
        past: list[int] = []
        while waiting.goes_on(len(found)):
            for rank in range(job.world_size):
                if rank not in found and (read := self._read(job, rank)) is not None:
                    found[rank] = read
            if len(found) == job.world_size:
                return _checked(job, [found[rank] for rank in range(job.world_size)])
            # Looked for once more since: they may have written this one just before the next.
            if any(rank not in found for rank in past) or is_given_up_for(behind(), 0):
                break
            absent = [rank for rank in range(job.world_size) if rank not in found]
            past = [rank for rank in absent if self._is_past(rank, behind())]
        self._was_in_vain = True
        absent = sorted(set(range(job.world_size)) - found.keys())
        raise _absence(job, absent, past, waiting.so_far_s)

    def _is_past(self, rank: int, later: Sequence[SaveJob]) -> bool:
        """Say whether a rank has written a later save already: it will not write this one."""
        return any(self._store.exists(self._keys.part(job.id, rank)) for job in later)

    def give_up(self, job: SaveJob) -> None:
        """Take away the parts that are there, so that the ranks which wait see that it is over."""
        keys = (self._keys.part(job.id, rank) for rank in range(job.world_size))
        self._store.delete([key for key in keys if self._store.exists(key)])

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


def _absence(job: SaveJob, absent: list[int], past: list[int], waited_s: float) -> SaveFailed:
    gone_on = [rank for rank in past if rank in absent]
    named = ", ".join(map(str, gone_on or absent))
    if gone_on:
        why = f"rank(s) {named} of {job.world_size} went on to a later save without it"
    else:
        why = f"after {waited_s:.0f} s nothing had come from rank(s) {named} of {job.world_size}"
    return SaveFailed(
        f"Step {job.step} was not saved: {why}. Are they alive, and do they save the same steps? "
        "Checkpoints committed before are safe.",
        step=job.step,
        ranks=",".join(map(str, gone_on or absent)),
    )


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
