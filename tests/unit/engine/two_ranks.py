"""A save of two ranks without their processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from holdfast.engine import drafts
from holdfast.engine.job import SaveJob
from holdfast.engine.leaf_filler import leaf_filler
from holdfast.engine.new_job import job_of
from holdfast.engine.run_writer import RunWriter
from holdfast.engine.stream import StreamSource
from holdfast.plan.layout import plan_layout
from holdfast.plan.sharing import Shares
from holdfast.records import pins
from holdfast.state.flatten import flatten
from holdfast.state.sharding import Sharing
from holdfast.store.contract import ObjectStore

INCARNATION = "1c" * 16


class Rank:
    """As much of ``Ranks`` as a job needs."""

    def __init__(self, rank: int) -> None:
        self.rank, self.world_size = rank, 2

    def next_id(self, step: int) -> str:
        return f"{step:032x}"


def state_of(step: int) -> dict[str, Any]:
    return {"w": np.arange(4000.0) + step, "v": np.arange(3000.0) - step}


def part_of(
    rank: int, step: int, state: dict[str, Any] | None = None, **facts: Any
) -> tuple[SaveJob, StreamSource]:
    sharing = Sharing(rank, 2, Shares().writer_of, lambda path: False, 1 << 20)
    flat = flatten(state or state_of(step), sharing=sharing)
    layout = plan_layout((leaf.path, leaf.spec.nbytes) for leaf in flat.leaves)
    told = {"incarnation": INCARNATION, "metrics": {"loss": 0.5}, "reason": "every 2 steps"}
    job = job_of(flat, layout, "r", step=step, ranks=Rank(rank), **told, **facts)
    return job, StreamSource(layout, leaf_filler(flat.leaves, layout))


def written(
    stores: ObjectStore | Sequence[ObjectStore],
    step: int,
    ranks: tuple[int, ...] = (0, 1),
    **facts: Any,
) -> None:
    """Leave what ranks have written of a step when rank 0 is lost before its commit."""
    of_rank = [stores] * 2 if isinstance(stores, ObjectStore) else stores
    for rank in ranks:
        job, source = part_of(rank, step, **facts)
        RunWriter(of_rank[rank], "r", rank=rank, incarnation=INCARNATION).write_part(job, source)
    job, _ = part_of(0, step, **facts)
    pins.put_pin(of_rank[0], "r", pins.Pin(job.id, (), 0, INCARNATION, drafts.draft_of(job)))
