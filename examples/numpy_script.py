"""A NumPy training script that can be killed at any moment, and goes on where it was.

    python examples/numpy_script.py --store ckpts --steps 5000

Kill it and run the same command again: it ends with the same weights, to the last bit, as a run
that nobody disturbed. No framework is needed.
"""

from __future__ import annotations

import argparse

import numpy as np

from holdfast import Checkpointer, every, keep, on
from holdfast.data import Sampler

FEATURES, HIDDEN = 32, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="ckpts", help="folder of the checkpoints")
    parser.add_argument("--run", default="regression", help="name of the run")
    parser.add_argument("--steps", type=int, default=5000, help="steps to train in all")
    args = parser.parse_args()

    inputs, wanted = make_data(np.random.default_rng(0))
    generator = np.random.default_rng(1)
    state = {
        "weights": {
            "first": generator.normal(size=(FEATURES, HIDDEN)) / FEATURES**0.5,
            "second": generator.normal(size=(HIDDEN, 1)) / HIDDEN**0.5,
        },
        "momentum": {"first": np.zeros((FEATURES, HIDDEN)), "second": np.zeros((HIDDEN, 1))},
        "generator": generator,
        "sampler": Sampler(len(inputs), batch_size=64, seed=0),
        "progress": {"samples": 0},
    }

    with Checkpointer(
        args.store, state, run=args.run, save=every(steps=100) | on.signal(), keep=keep.last(3)
    ) as ckpt:
        restored = ckpt.restore()
        if restored:
            print(f"resumed from {restored.ref}", flush=True)

        step = ckpt.next_step
        while step < args.steps:
            for batch in state["sampler"]:
                loss = train_step(state, inputs[batch], wanted[batch])
                state["progress"]["samples"] += len(batch)
                if step % 100 == 0:
                    print(step, {"loss": round(loss, 5)}, flush=True)
                ckpt.step(step, metrics={"loss": loss})
                step += 1
                if step == args.steps:
                    break
        metrics = {"loss": loss_of(state, inputs, wanted)}
        ckpt.save(args.steps - 1, tag="final", metrics=metrics).wait()
    print(f"done: {args.run}@final", flush=True)


def make_data(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    inputs = generator.normal(size=(4096, FEATURES))
    return inputs, np.sin(inputs[:, :3].sum(axis=1, keepdims=True))


def train_step(state: dict, inputs: np.ndarray, wanted: np.ndarray) -> float:
    """One step of gradient descent with momentum; the arrays of the state change in place."""
    weights, momentum = state["weights"], state["momentum"]
    noisy = inputs + 0.01 * state["generator"].normal(size=inputs.shape)
    hidden = np.tanh(noisy @ weights["first"])
    error = hidden @ weights["second"] - wanted
    back = (error @ weights["second"].T) * (1 - hidden**2)
    gradients = {"first": noisy.T @ back / len(inputs), "second": hidden.T @ error / len(inputs)}
    for name, gradient in gradients.items():
        momentum[name] *= 0.9
        momentum[name] -= 0.02 * gradient
        weights[name] += momentum[name]
    return float((error**2).mean())


def loss_of(state: dict, inputs: np.ndarray, wanted: np.ndarray) -> float:
    weights = state["weights"]
    error = np.tanh(inputs @ weights["first"]) @ weights["second"] - wanted
    return float((error**2).mean())


if __name__ == "__main__":
    main()
