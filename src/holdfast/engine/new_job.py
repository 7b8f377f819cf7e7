"""What a save is told to do, made of a flattened state."""

from __future__ import annotations

from typing import Any

from holdfast.engine import job as jobs
from holdfast.format import part as part_format
from holdfast.plan.layout import Layout
from holdfast.state.flatten import Flat


def job_of(flat: Flat, layout: Layout, run: str, *, step: int, **facts: Any) -> jobs.SaveJob:
    """Return the job of saving a state as a new checkpoint.

    Args:
        flat: The state.
        layout: Where its leaves go.
        run: The run it is saved in.
        step: Name of the checkpoint.
        facts: The other fields of the job.
    """
    checkpoint_id = jobs.new_id()
    return jobs.SaveJob(
        id=checkpoint_id,
        step=step,
        layout=layout,
        plan=encode_plan(flat, layout, run, step, checkpoint_id),
        state_bytes=flat.nbytes,
        n_leaves=flat.n_leaves,
        **facts,
    )


def encode_plan(flat: Flat, layout: Layout, run: str, step: int, checkpoint_id: str) -> bytes:
    """Return the encoded manifest of a flattened state, without chunks and packs."""
    rows = [
        part_format.ArrayRow(leaf.spec.framework, leaf.spec.dtype, leaf.spec.shape, chunk, offset)
        for leaf, (chunk, offset) in zip(flat.leaves, layout.places, strict=True)
    ]
    return part_format.encode(
        part_format.Part(run, step, checkpoint_id, 0, 1, flat.tree, rows, chunks=(), packs=())
    )
