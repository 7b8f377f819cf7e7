"""Saves of small states by writers that a test holds in its hands."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from holdfast import frameworks
from holdfast.engine import job as jobs
from holdfast.engine.leaf_filler import leaf_filler
from holdfast.engine.new_job import encode_plan
from holdfast.engine.run_writer import RunWriter
from holdfast.engine.stream import StreamSource
from holdfast.engine.unfinished import Saved
from holdfast.format.lineage import Lineage
from holdfast.plan.layout import plan_layout
from holdfast.state.flatten import flatten


def opened(store: Any, run: str) -> RunWriter:
    """A writer of a run, with one thread, so that what happens comes in a certain order."""
    writer = RunWriter(store, run, threads=1, compress="delta")
    writer.open(os.getpid())
    return writer


def save(
    writer: RunWriter,
    tree: dict[str, Any],
    step: int,
    *,
    metrics: Mapping[str, float] | None = None,
    tag: str | None = None,
    lineage: Lineage | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> Saved:
    """Save a state; something may happen when its first chunk is asked for."""
    frameworks.activate()
    flat = flatten(tree)
    layout = plan_layout((leaf.path, leaf.spec.nbytes) for leaf in flat.leaves)
    fill, checkpoint_id = leaf_filler(flat.leaves, layout), jobs.new_id()
    waiting = [meanwhile] if meanwhile is not None else []

    def fill_and_meddle(chunk: int, view: memoryview) -> None:
        while waiting:
            waiting.pop()()
        fill(chunk, view)

    job = jobs.SaveJob(
        id=checkpoint_id,
        step=step,
        layout=layout,
        plan=encode_plan(flat, layout, writer.run, step, checkpoint_id),
        state_bytes=flat.nbytes,
        n_leaves=flat.n_leaves,
        metrics=metrics or {},
        tag=tag,
        lineage=lineage or Lineage(),
    )
    return writer.save(job, StreamSource(layout, fill_and_meddle))
