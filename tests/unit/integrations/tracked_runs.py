"""A short run whose checkpoints trackers get."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence

import numpy as np

from holdfast import Checkpointer, Store
from holdfast.records.opening import Location

# The best is that of step 1; the last is tagged.
LOSSES = (0.5, 0.25, 0.375)


def train(store: Location | Store, followers: Sequence[Callable[..., object]]) -> None:
    """Train three steps: ``model/w`` is the number of steps done."""
    state = {"model": {"w": np.zeros((2, 3), "f4")}, "optimizer": {"m": np.ones(4)}}
    done: queue.SimpleQueue[int] = queue.SimpleQueue()
    on_saved = [*followers, lambda info, store: done.put(info.step)]
    with Checkpointer(store, state, run="net", rng=False, on_saved=on_saved) as ckpt:
        for step, loss in enumerate(LOSSES):
            state["model"]["w"] += 1
            ckpt.save(step, tag="final/1" if step == 2 else None, metrics={"loss": loss})
            # A follower sees the run as it is when it is called: here with nothing newer.
            assert done.get(timeout=60) == step
