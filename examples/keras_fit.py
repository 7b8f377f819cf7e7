"""Keras ``fit`` that can be killed at any moment, and goes on with the next batch.

    KERAS_BACKEND=jax python examples/keras_fit.py --store ckpts --steps 400

Kill it and run the same command again: it ends with the same weights, moments, random numbers and
history, to the last bit, as a run that nobody disturbed. Any backend will do.
"""

from __future__ import annotations

import argparse

import keras
import numpy as np

from holdfast import every, keep, on
from holdfast.keras import Batches, HoldfastCallback

BATCHES_PER_EPOCH = 64


class Show(keras.callbacks.Callback):
    """Prints every tenth step."""

    def __init__(self, progress: HoldfastCallback) -> None:
        super().__init__()
        self.progress = progress

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.progress.steps % 10 == 0:
            print(self.progress.steps, {"loss": round(float(logs["loss"]), 5)}, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="ckpts", help="folder of the checkpoints")
    parser.add_argument("--run", default="keras", help="name of the run")
    parser.add_argument("--steps", type=int, default=400, help="steps to train in all")
    args = parser.parse_args()

    # Layers draw their first weights and their dropout from generators of this seed.
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(BATCHES_PER_EPOCH * 16, 16)).astype("float32")
    y = np.sin(x[:, :3].sum(axis=1, keepdims=True))

    model = keras.Sequential(
        [
            keras.Input((16,)),
            keras.layers.GaussianNoise(0.05),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1),
        ]
    )
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, decay_steps=1000)
    model.compile(optimizer=keras.optimizers.AdamW(schedule), loss="mse", metrics=["mae"])

    # Its order and its augmentation are a function of seed, epoch and number of the batch.
    data = Batches(x, y, batch_size=16, shuffle=True, seed=1, augment=jitter)
    slower = keras.callbacks.EarlyStopping("loss", patience=100)
    resume = HoldfastCallback(
        args.store,
        run=args.run,
        data=data,
        save=every(steps=10) | on.signal(),
        keep=keep.last(3),
        state={"early": slower},
        tag="final",
    )
    epochs = -(-args.steps // BATCHES_PER_EPOCH)
    history = model.fit(data, epochs=epochs, verbose=0, callbacks=[slower, resume, Show(resume)])
    if resume.restored:
        print(f"resumed from {resume.restored.ref}", flush=True)
    assert len(history.history["loss"]) == epochs
    print(f"done: {args.run}@final", flush=True)


def jitter(batch: tuple, generator: np.random.Generator) -> tuple:
    x, y = batch
    return x + generator.normal(scale=0.01, size=x.shape).astype(x.dtype), y


if __name__ == "__main__":
    main()
