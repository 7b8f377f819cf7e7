"""A JAX training script (Flax, Optax) that can be killed at any moment, and goes on where it was.

    python examples/jax_flax.py --store ckpts --steps 1500

Kill it and run the same command again: it ends with the same parameters, moments and keys, to the
last bit, as a run that nobody disturbed.
"""

from __future__ import annotations

import argparse

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState

from holdfast import Checkpointer, every, keep, on
from holdfast.data import Sampler


class Net(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Dense(64)(x))
        x = nn.Dropout(0.2, deterministic=False)(x)
        return nn.Dense(1)(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="ckpts", help="folder of the checkpoints")
    parser.add_argument("--run", default="flax", help="name of the run")
    parser.add_argument("--steps", type=int, default=1500, help="steps to train in all")
    args = parser.parse_args()

    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(2048, 16)).astype("float32")
    wanted = np.sin(inputs[:, :3].sum(axis=1, keepdims=True))

    # Arrays of JAX do not change: what a step returns goes back into this dict, and what is
    # restored is found there.
    state = {
        "train": make_train_state(jax.random.key(0)),
        "key": jax.random.key(1),
        "sampler": Sampler(len(inputs), batch_size=32, seed=0),
    }
    with Checkpointer(
        args.store, state, run=args.run, save=every(steps=50) | on.signal(), keep=keep.last(3)
    ) as ckpt:
        restored = ckpt.restore()
        if restored:
            print(f"resumed from {restored.ref}", flush=True)
        step = ckpt.next_step
        while step < args.steps:
            for batch in state["sampler"]:
                state["key"], dropout = jax.random.split(state["key"])
                state["train"], loss = train_step(
                    state["train"], dropout, inputs[batch], wanted[batch]
                )
                if step % 50 == 0:
                    print(step, {"loss": round(float(loss), 5)}, flush=True)
                ckpt.step(step, metrics={"loss": loss})
                step += 1
                if step == args.steps:
                    break
        ckpt.save(args.steps - 1, tag="final").wait()
    print(f"done: {args.run}@final", flush=True)


def make_train_state(key: jax.Array) -> TrainState:
    net = Net()
    params = net.init({"params": key, "dropout": key}, jnp.zeros((1, 16)))["params"]
    schedule = optax.cosine_decay_schedule(1e-2, decay_steps=3000)
    return TrainState.create(apply_fn=net.apply, params=params, tx=optax.adamw(schedule))


@jax.jit
def train_step(
    train: TrainState, dropout: jax.Array, x: jax.Array, y: jax.Array
) -> tuple[TrainState, jax.Array]:
    def loss_of(params: dict) -> jax.Array:
        predicted = train.apply_fn({"params": params}, x, rngs={"dropout": dropout})
        return ((predicted - y) ** 2).mean()

    loss, gradients = jax.value_and_grad(loss_of)(train.params)
    return train.apply_gradients(grads=gradients), loss


if __name__ == "__main__":
    main()
