"""What the model of a store is made of, and the strategies that everything is drawn from."""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import Any

import numpy as np
from hypothesis import strategies as st

from holdfast.policy.keep import keep

SIZES = {"large": 400_000, "medium": 70_000, "small": 300}
RUNS = ("r", "a/b")

Content = dict[str, int]


def tree_of(content: Content) -> dict[str, Any]:
    """A state in which equal seeds mean equal bytes, each leaf in a chunk of its own.

    Those of even seeds can be stored in fewer bytes. From 3 on they differ from that of seed 1 in a
    few places, and can be stored as a difference from it.
    """
    return {name: _leaf(SIZES[name], seed) for name, seed in content.items()} | {
        "seeds": dict(content)
    }


def _leaf(size: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    if seed < 3:
        high = 256 if seed % 2 else 9
        return np.random.default_rng(seed).integers(0, high, size, np.uint8)
    leaf = _leaf(size, 1)
    leaf[seed::200] += seed
    return leaf


@dataclasses.dataclass
class Saved:
    """What the model knows of a checkpoint; ``origin`` is what its run was forked from."""

    id: str
    step: int
    content: Content
    loss: float
    origin: str | None = None


# Few seeds, so that much is shared.
contents = st.fixed_dictionaries(
    {"large": st.integers(0, 4).filter(lambda seed: seed != 2)},
    optional={"medium": st.sampled_from([0, 1, 3]), "small": st.integers(0, 2)},
)
runs = st.sampled_from(RUNS)
steps = st.integers(0, 6)
losses = st.sampled_from([0.5, 0.25, -1.0, math.nan, math.inf])
single_policies = st.sampled_from(
    [
        keep.last(1),
        keep.last(3),
        keep.best("loss"),
        keep.every(steps=3),
        keep.within(steps=2),
        keep.within(hours=1),
        keep.every(steps=2).within(steps=4),
        keep.best("loss", n=2).within(days=1),
        keep.thinning(),
        keep.tagged(),
        keep.all(),
    ]
)
budgets = st.sampled_from([1, 10_000, 450_000, 480_000, 900_000, 10**9]).map(keep.budget)
policies = (
    single_policies
    | budgets
    | st.builds(operator.or_, single_policies, single_policies)
    | st.builds(operator.or_, single_policies, budgets)
)
tag_names = st.sampled_from(["best", "v1", "a/b"]).map(lambda n: f"t {n}")
picks = st.integers(0, 99)
tags = st.none() | tag_names
ways = st.sampled_from(["none", "planes", "delta", "delta"])
numbers = st.integers(0, 60)
moments = st.sampled_from(["before", "within", "after"])
