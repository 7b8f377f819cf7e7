"""A save of which this process has done its share: what is left to do for its commit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from holdfast.chunks.stored import Stored, stored_at
from holdfast.chunks.write import Written
from holdfast.engine.job import SaveJob
from holdfast.errors import ChunkMissing, HoldfastError, SaveFailed
from holdfast.format import part as part_format
from holdfast.format.commit import CommitRecord, PartRef
from holdfast.format.digests import digest
from holdfast.format.names import RunKeys, checkpoint_of
from holdfast.store.contract import ObjectStore


@dataclass(frozen=True, slots=True)
class Saved:
    """A committed checkpoint, the bytes of its commit, where each of its chunks lies, in order."""

    record: CommitRecord
    commit: bytes = field(repr=False)
    places: Sequence[Stored] = field(repr=False)
    tag_error: HoldfastError | None = None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A save whose chunks and manifest are durable.

    Attributes:
        job: The save.
        written: Where its chunks lie; None where a persister before this one has written them.
        parts: The manifest that was written.
        not_finite: How many elements are not finite, if anybody looked.
        saved: What came of it, where it turned out to be committed already.
        written_s: When that was, on the monotonic clock: others are waited for from then on.
    """

    job: SaveJob
    written: Written | None = None
    parts: Sequence[PartRef] = ()
    not_finite: int | None = None
    saved: Saved | None = None
    written_s: float = field(default_factory=time.monotonic)


def found_again(store: ObjectStore, run: str, job: SaveJob) -> Unfinished:
    """Return a save that a persister which has died since has written, from its manifest.

    Raises:
        SaveFailed: The manifest is gone.
    """
    key = RunKeys(run).part(job.id, job.rank)
    try:
        data = store.get(key)
    except ChunkMissing as error:
        raise SaveFailed(
            f"Step {job.step} was not saved: what the process that writes checkpoints had written "
            "of it before it died is gone. Checkpoints committed before are safe.",
            step=job.step,
        ) from error
    part = part_format.decode(data, what=f"the manifest of step {job.step}")
    sizes = [pack.length for pack in part.packs if checkpoint_of(pack.key) == job.id]
    counts = [row.not_finite for row in part.arrays if row.not_finite is not None]
    return Unfinished(
        job,
        Written([stored_at(part, row) for row in part.chunks], sum(sizes)),
        [PartRef(job.rank, key, digest(data), len(data))],
        sum(counts) if counts else None,
    )
