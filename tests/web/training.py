"""Runs for the pages: one that over-fits, a fork of it, and one with a hostile name."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

import holdfast
from holdfast import Checkpointer, every, keep

# What a page must show as text, whatever it would be as HTML.
HOSTILE = "<script>document.title='broken in'</script>&'\""
STEPS, EVERY = 300, 20


def make_store(folder: Path) -> Path:
    """Make the store; every number in it is the same each time."""
    make_friendly_store(folder)
    _train(folder, HOSTILE, 41)
    holdfast.Store(folder).note("base@200", f"looks <b>good</b> {HOSTILE}", {"reviewed": True})
    return folder


def make_friendly_store(folder: Path) -> Path:
    """Make a store of which nothing is there to do harm."""
    _train(folder, "base", STEPS)
    _train(folder, "fork", 260, fork="base@200")
    store = holdfast.Store(folder)
    store.tag("base@200", "before_drop")
    store.note("base", "the first real run")
    return folder


def _train(folder: Path, run: str, steps: int, fork: str | None = None) -> None:
    rng = np.random.default_rng(7)
    model = {
        f"layers.{i}.{part}.weight": rng.standard_normal((16, 16)).astype(np.float32)
        for i in range(4)
        for part in ("attn", "mlp")
    }
    state = {"model": model, "optimizer": {"lr": 0.05, "m": np.zeros((8, 8))}}
    config = {"lr": 0.05 if fork is None else 0.02, "model": {"width": 16}}
    # Keeps all that are saved here; the one after them would push the first out.
    kept = keep.last(STEPS // EVERY - 1) | keep.best("val_loss")
    save = every(steps=EVERY)
    with Checkpointer(
        folder, state, run=run, save=save, keep=kept, config=config, dataset="digits-v1"
    ) as ckpt:
        if fork is not None:
            ckpt.restore(fork)
        for step in range(ckpt.next_step, steps):
            for name, weights in model.items():
                if not name.startswith("layers.0"):
                    weights += rng.standard_normal(weights.shape).astype(np.float32) * 1e-3
            ckpt.step(step, metrics=_metrics(step / STEPS, fork is not None))


def _metrics(done: float, is_fork: bool) -> dict[str, float]:
    """Validation gets worse from two fifths on; in the fork, with less of a rate, it recovers."""
    falling = 2 * math.exp(-4 * done)
    worse = 1.5 * max(0.0, min(done, 2 / 3) - 0.4) if is_fork else 1.5 * max(0.0, done - 0.4)
    better = max(0.0, done - 2 / 3) if is_fork else 0.0
    rate = (1 - done) * (0.4 if is_fork else 1.0)
    return {"loss": falling, "val_loss": falling + 0.1 + worse - better, "lr": rate}
