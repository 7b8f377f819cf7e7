"""scikit-learn estimators that learn batch by batch, and go on where they were when killed.

    python examples/sklearn_partial_fit.py --store ckpts --steps 3000

Kill it and run the same command again: it ends with the same estimators, to the last bit, as a run
that nobody disturbed.
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from holdfast import Checkpointer, every, keep, on
from holdfast.data import Sampler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="ckpts", help="folder of the checkpoints")
    parser.add_argument("--run", default="sklearn", help="name of the run")
    parser.add_argument("--steps", type=int, default=3000, help="steps to train in all")
    args = parser.parse_args()

    generator = np.random.default_rng(0)
    x = generator.normal(size=(4096, 12))
    y = (np.sin(x[:, :3].sum(axis=1)) > 0).astype(int)

    scaler = StandardScaler()
    linear = SGDClassifier(loss="log_loss", average=True, random_state=np.random.RandomState(1))
    network = MLPClassifier((16,), random_state=np.random.RandomState(2))
    sampler = Sampler(len(x), batch_size=64, seed=0)
    state = {"scaler": scaler, "linear": linear, "network": network, "sampler": sampler}
    with Checkpointer(
        args.store, state, run=args.run, save=every(steps=100) | on.signal(), keep=keep.last(3)
    ) as ckpt:
        restored = ckpt.restore()
        if restored:
            print(f"resumed from {restored.ref}", flush=True)
        step = ckpt.next_step
        while step < args.steps:
            for batch in sampler:
                scaled = scaler.partial_fit(x[batch]).transform(x[batch])
                for learner in (linear, network):
                    learner.partial_fit(scaled, y[batch], classes=[0, 1])
                if step % 100 == 0:
                    print(step, {"loss": round(float(network.loss_), 5)}, flush=True)
                ckpt.step(step)
                step += 1
                if step == args.steps:
                    break
        ckpt.save(args.steps - 1, tag="final").wait()
    print(f"done: {args.run}@final", flush=True)


if __name__ == "__main__":
    main()
