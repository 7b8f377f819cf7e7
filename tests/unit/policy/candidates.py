"""Checkpoints to choose among, made by hand or drawn, and what a policy keeps of them."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from holdfast.policy.keep import keep
from holdfast.policy.retention import plan_retention

START = datetime(2024, 5, 6, 0, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Saved:
    seq: int
    step: int
    created: datetime = START
    metrics: dict[str, float] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    epoch: float | None = None
    not_finite: int | None = None

    @property
    def id(self) -> str:
        return f"{self.seq:032x}"


def run(*steps, **values):
    """Checkpoints of these steps in the order of saving; values are lists, one item for each."""
    return [
        Saved(seq, step, **{name: items[seq] for name, items in values.items()})
        for seq, step in enumerate(steps)
    ]


def losses(*values):
    return [{} if v is None else {"loss": v} for v in values]


def kept_steps(checkpoints, policy):
    return [c.step for c, _ in plan_retention(checkpoints, policy).kept]


def reasons(checkpoints, policy):
    return {c.seq: why for c, why in plan_retention(checkpoints, policy).kept}


metric = st.one_of(st.none(), st.floats())
checkpoint_lists = st.lists(
    st.builds(
        lambda step, hours, loss, tags, epoch: (step, hours, loss, tags, epoch),
        st.integers(0, 12),
        st.integers(0, 100),
        metric,
        st.lists(st.sampled_from(["a", "b"]), max_size=2, unique=True).map(tuple),
        st.none() | st.sampled_from([0.5, 1.0, 2.0]),
    ),
    max_size=12,
).map(
    lambda rows: [
        Saved(
            seq,
            step,
            START + timedelta(hours=hours),
            {} if loss is None else {"loss": loss},
            tags if seq % 3 == 0 else (),
            epoch,
        )
        for seq, (step, hours, loss, tags, epoch) in enumerate(rows)
    ]
)
simple_policies = st.one_of(
    st.integers(1, 4).map(keep.last),
    st.builds(keep.best, st.just("loss"), st.integers(1, 3), st.sampled_from(["min", "max"])),
    st.integers(1, 6).map(lambda n: keep.every(steps=n)),
    st.integers(1, 50).map(lambda n: keep.every(hours=n)),
    st.sampled_from([0.5, 1, 2]).map(lambda n: keep.every(epochs=n)),
    st.integers(1, 60).map(lambda n: keep.within(hours=n)),
    st.integers(1, 6).map(lambda n: keep.within(steps=n)),
    st.just(keep.thinning()),
    st.just(keep.tagged()),
    st.just(keep.all()),
)
single_policies = simple_policies | st.builds(
    lambda policy, hours: policy.within(hours=hours), simple_policies, st.integers(1, 60)
)
policies = st.lists(single_policies, min_size=1, max_size=3).map(
    lambda ps: functools.reduce(operator.or_, ps)
)


def kept_seqs(checkpoints, policy):
    return [c.seq for c, _ in plan_retention(checkpoints, policy).kept]
