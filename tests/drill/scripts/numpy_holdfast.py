"""A training with NumPy and holdfast that resumes exactly, unless a bug is planted.

``numpy_holdfast.py [BUG]``. Bugs: rng, loader, step, best, ema.
"""

import sys
import time

import numpy as np

from holdfast import Checkpointer, every, keep

BUG = sys.argv[1] if len(sys.argv) > 1 else ""
STEPS, SAMPLES = 60, 24

np.random.seed(0)
data = np.random.default_rng(1).normal(size=(SAMPLES, 6))
state = {
    "w": np.zeros(6),
    "momentum": np.zeros(6),
    "loader": {"at": np.zeros((), int), "order": np.random.permutation(SAMPLES)},
    "ema": np.zeros(6),
    "best_loss": np.full((), np.inf),
    "best": np.zeros(6),
}
left_out = {"loader": ["loader/**"], "best": ["best_loss"], "ema": ["ema"]}.get(BUG)
ema = state["ema"]

with Checkpointer(
    "ckpts",
    state,
    run="run",
    save=every(steps=6),
    keep=keep.last(3),
    rng=BUG != "rng",
    skip=left_out,
) as ckpt:
    ckpt.restore()
    for step in range(ckpt.next_step - (BUG == "step" and ckpt.next_step > 0), STEPS):
        loader = state["loader"]
        if loader["at"] + 4 > SAMPLES:
            loader["at"][...] = 0
            loader["order"][...] = np.random.permutation(SAMPLES)
        batch = data[loader["order"][loader["at"] : loader["at"] + 4]]
        loader["at"] += 4
        error = batch @ state["w"] - batch[:, 0] + 0.1 * np.random.normal(size=4)
        loss = float((error**2).mean())
        state["momentum"] *= 0.9
        state["momentum"] += batch.T @ error / 4
        state["w"] -= 0.05 * state["momentum"]
        state["ema"] *= 0.9
        state["ema"] += 0.1 * state["w"]
        if loss + step < state["best_loss"]:
            state["best_loss"][...] = loss + step
            state["best"][...] = state["w"]
        time.sleep(0.002)
        ckpt.step(step, metrics={"loss": loss, "ema_norm": float(np.linalg.norm(state["ema"]))})
    ckpt.save(STEPS, tag="final").wait()
np.savez("result.npz", w=state["w"], ema=state["ema"], best=state["best"])
