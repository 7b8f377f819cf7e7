"""Checkpoints copied from one store to another, every chunk checked on the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from holdfast.chunks.batch import read_of
from holdfast.chunks.encoder import Compress
from holdfast.chunks.read import read_chunks
from holdfast.chunks.targets import Target
from holdfast.engine import job as jobs
from holdfast.engine.run_writer import RunWriter
from holdfast.engine.stream import StreamSource
from holdfast.engine.unfinished import Saved
from holdfast.format import part as part_format
from holdfast.format.codecs import DELTA
from holdfast.format.commit import CommitRecord
from holdfast.format.part import Part
from holdfast.plan.layout import Layout, laid_out
from holdfast.plan.reads import plan_reads
from holdfast.records import commits
from holdfast.security.authenticity import NOBODY, Authenticity
from holdfast.store.contract import ObjectStore


def copy_checkpoint(
    source: ObjectStore,
    record: CommitRecord,
    target: ObjectStore,
    authenticity: Authenticity = NOBODY,
    *,
    reason: str = "copied from",
) -> Saved:
    """Copy a checkpoint into the run of the same name in another store; or in its own, as newest.

    Chunks that the newest checkpoint there has are referred to, not written again. If any chunk is
    stored in fewer bytes than it has, those that are written are, too; if any is a difference from
    another, they are differences from what the newest checkpoint there has, where that pays.

    The copy is a checkpoint of its own: it is signed by who signs there, not as the original is.

    Raises:
        DataError: The checkpoint is damaged; nothing was committed.
        RunBusy: The run is being written there.
    """
    ref = f"{record.run}@{record.step}"
    parts = [commits.read_part(source, record, of_rank) for of_rank in record.parts]
    work = _jobs_of(record, parts, f"{reason} {ref}")
    sources = [
        StreamSource(job.layout, filler_of(source, part, ref))
        for job, part in zip(work, parts, strict=True)
    ]
    writers = [
        RunWriter(
            target,
            record.run,
            authenticity=authenticity,
            compress=_compress_of(part),
            rank=part.rank,
            incarnation=work[0].incarnation if len(parts) > 1 else "",
        )
        for part in parts
    ]
    writers[0].open(os.getpid())
    try:
        for writer, job, chunks in list(zip(writers, work, sources, strict=True))[1:]:
            writer.open(os.getpid())
            writer.write_part(job, chunks)
        return writers[0].save(work[0], sources[0])
    finally:
        for writer, job in list(zip(writers, work, strict=True))[1:]:
            writer.unpin(job)
        writers[0].close()


def filler_of(source: ObjectStore, part: Part, ref: str) -> Callable[[int, memoryview], None]:
    """Return what fills a buffer with a chunk of a part, by its row."""

    def fill(index: int, view: memoryview) -> None:
        row = part.chunks[index]
        read = read_of(part, row, [Target(0, view[: row.length])], "a chunk")
        read_chunks(source, [read], ref=ref, full=True)

    return fill


def _jobs_of(record: CommitRecord, parts: Sequence[Part], reason: str) -> list[jobs.SaveJob]:
    """Return what each rank's part of the copy is made of; they are of one checkpoint."""
    checkpoint_id, incarnation = jobs.new_id(), jobs.new_id()
    made = [_job_of(record, part, _layout_of(part), reason, checkpoint_id) for part in parts]
    return [replace(job, incarnation=incarnation) for job in made]


def _layout_of(part: Part) -> Layout:
    lengths = [chunk.length for chunk in part.chunks]
    # Chunks that deltas are differences from lie behind those that hold the state.
    used = plan_reads(part.arrays, lengths, range(len(part.arrays)))
    return laid_out(lengths[: max(used, default=-1) + 1])


def _job_of(
    record: CommitRecord, part: Part, layout: Layout, reason: str, checkpoint_id: str
) -> jobs.SaveJob:
    return jobs.SaveJob(
        id=checkpoint_id,
        step=record.step,
        layout=layout,
        plan=part_format.encode(replace(part, checkpoint_id=checkpoint_id, chunks=(), packs=())),
        state_bytes=record.state_bytes,
        n_leaves=record.n_leaves,
        metrics=record.metrics,
        reason=reason,
        parent=record.id,
        environment=record.environment,
        rank=part.rank,
        world_size=part.world_size,
        lineage=replace(record.lineage, resumed_from=None),
        epoch=record.epoch,
        check_finite=record.not_finite is not None,
    )


def _compress_of(part: Part) -> Compress:
    codecs = {chunk.codec for chunk in part.chunks}
    return "delta" if DELTA in codecs else "planes" if any(codecs) else "none"
