"""A TensorFlow loop with ``tf.data`` that can be killed at any moment, and goes on where it was.

    python examples/tensorflow_loop.py --store ckpts --steps 600

Kill it and run the same command again: it ends with the same weights, moments and random numbers,
to the last bit, as a run that nobody disturbed.
"""

from __future__ import annotations

import argparse

import numpy as np
import tensorflow as tf

from holdfast.tensorflow import CheckpointManager


class Net(tf.Module):
    def __init__(self, generator: tf.random.Generator) -> None:
        self.first = tf.Variable(generator.normal((16, 64)) / 4.0)
        self.first_bias = tf.Variable(tf.zeros(64))
        self.second = tf.Variable(generator.normal((64, 1)) / 8.0)
        self.second_bias = tf.Variable(tf.zeros(1))

    def __call__(self, x: tf.Tensor, dropout: tf.Tensor) -> tf.Tensor:
        hidden = tf.nn.relu(x @ self.first + self.first_bias) * dropout
        return hidden @ self.second + self.second_bias


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="ckpts", help="folder of the checkpoints")
    parser.add_argument("--run", default="tensorflow", help="name of the run")
    parser.add_argument("--steps", type=int, default=600, help="steps to train in all")
    args = parser.parse_args()

    tf.config.experimental.enable_op_determinism()
    tf.random.set_seed(0)
    numbers = np.random.default_rng(0)
    x = numbers.normal(size=(1024, 16)).astype("float32")
    y = np.sin(x[:, :3].sum(axis=1, keepdims=True))
    # The iterator is part of what is saved, with what it has shuffled.
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(256, seed=1).repeat().batch(32)
    batches = iter(data)

    generator = tf.random.Generator.from_seed(2)
    net = Net(generator)
    momentum = [tf.Variable(tf.zeros_like(v)) for v in net.trainable_variables]
    step = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(
        net=net, momentum=momentum, generator=generator, batches=batches, step=step
    )

    @tf.function
    def train_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        kept = tf.cast(generator.uniform((tf.shape(x)[0], 64)) > 0.2, tf.float32) / 0.8
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((net(x, kept) - y) ** 2)
        variables = net.trainable_variables
        gradients = tape.gradient(loss, variables)
        for v, m, gradient in zip(variables, momentum, gradients, strict=True):
            m.assign(0.9 * m - 0.01 * gradient)
            v.assign_add(m)
        return loss

    with CheckpointManager(
        checkpoint,
        args.store,
        max_to_keep=3,
        checkpoint_name=args.run,
        step_counter=step,
        checkpoint_interval=20,
    ) as manager:
        ref = manager.restore_or_initialize()
        if ref:
            print(f"resumed from {ref}", flush=True)
        while int(step) < args.steps:
            loss = train_step(*next(batches))
            step.assign_add(1)
            if int(step) % 20 == 0:
                print(int(step), {"loss": round(float(loss), 5)}, flush=True)
            manager.save(checkpoint_number=step)
        manager.save(checkpoint_number=step, check_interval=False, tag="final")
    print(f"done: {args.run}@final", flush=True)


if __name__ == "__main__":
    main()
