"""What a save is told to do: everything about a checkpoint but the bytes of its chunks."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.format import lineage as lineage_format
from holdfast.format.lineage import Lineage
from holdfast.plan.layout import Layout


def new_id() -> str:
    """Return an id for a checkpoint or an incarnation: 32 random hex digits."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class SaveJob:
    """One checkpoint to be written.

    ``parent`` is the checkpoint that training went on from. ``plan`` is the encoded part manifest
    without chunks and packs. ``arena`` is the name of the arena in which the snapshot is, or is
    being taken. ``spares_others`` says that retention shall leave alone what other processes
    have saved. ``versions`` are the sequences of names from which it gets the next one each.
    ``epoch`` is how many epochs were finished, if anybody counts them.
    ``rank`` of ``world_size`` processes writes this; they save the checkpoint together.
    ``check_finite`` says that the arrays are looked at whose count of elements that are not finite
    is 0 in the plan. ``tiers`` names where it goes; ``created_ns`` is when it was saved, the same
    in every tier, and 0 for now.
    """

    id: str
    step: int
    layout: Layout
    plan: bytes
    state_bytes: int
    n_leaves: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    tag: str | None = None
    parent: str | None = None
    environment: Mapping[str, object] = field(default_factory=dict)
    incarnation: str = field(default_factory=new_id)
    arena: str = ""
    spares_others: bool = False
    lineage: Lineage = field(default_factory=Lineage)
    versions: tuple[str, ...] = ()
    epoch: float | None = None
    check_finite: bool = False
    rank: int = 0
    world_size: int = 1
    tiers: tuple[str, ...] = ("home",)
    created_ns: int = 0


def to_message(job: SaveJob) -> tuple[dict[str, Any], bytes]:
    """Return a job as a JSON-able dict and a payload of bytes."""
    fields = {
        name: getattr(job, name)
        for name in SaveJob.__dataclass_fields__
        if name not in ("plan", "layout", "metrics")
    }
    fields["environment"] = dict(job.environment)
    fields["lineage"] = lineage_format.encode(job.lineage)
    # As text: JSON would lose NaN's and infinities' names on strict parsers.
    fields["metrics"] = {name: float(value).hex() for name, value in job.metrics.items()}
    # Where each leaf lies, the plan says already.
    layout = {
        "lengths": list(job.layout.lengths),
        "offsets": list(job.layout.offsets),
        "total_bytes": job.layout.total_bytes,
    }
    return {**fields, "layout": layout}, job.plan


def from_message(fields: Mapping[str, Any], payload: bytes) -> SaveJob:
    """Return the job of ``to_message``."""
    known = dict(fields)
    layout = Layout(places=(), **known.pop("layout"))
    metrics = {name: float.fromhex(text) for name, text in known.pop("metrics").items()}
    lineage = lineage_format.decode(known.pop("lineage"))
    versions, tiers = tuple(known.pop("versions")), tuple(known.pop("tiers"))
    return SaveJob(
        **known,
        layout=layout,
        metrics=metrics,
        lineage=lineage,
        versions=versions,
        tiers=tiers,
        plan=payload,
    )
