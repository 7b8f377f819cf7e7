"""A training that uses every kind of state there is, and can be stopped and resumed anywhere.

As a script: ``training.py STORE [options]`` trains, resuming by itself, and dies as it is told.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from holdfast import Checkpointer, data, every, on

RUN = "run"
STEPS = 20
# Batches in an epoch: 6, the last of them smaller.
SAMPLES, BATCH = 45, 8


class Images(torch.utils.data.Dataset[Any]):
    """Small images, each time shifted, scaled and blurred another way."""

    def __init__(self) -> None:
        source = np.random.Generator(np.random.PCG64(5))
        self.images = source.random((SAMPLES, 1, 8, 8), np.float32)
        self.labels = source.integers(0, 4, SAMPLES)
        self.on_fetch: Callable[[int], None] | None = None

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if self.on_fetch is not None:
            self.on_fetch(index)
        image = np.roll(self.images[index], random.randrange(4), axis=2)
        image = image * np.float32(np.random.uniform(0.9, 1.1))
        return torch.from_numpy(image) + 0.1 * torch.randn(1, 8, 8), int(self.labels[index])


class Training:
    """All objects of a run, made from a seed that must not matter after a resume."""

    def __init__(
        self,
        *,
        seed: int = 0,
        optimizer: str = "sgd",
        workers: int = 0,
        context: str | None = None,
        batch_norm: bool = True,
    ) -> None:
        torch.set_num_threads(1)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        middle = torch.nn.BatchNorm2d(6) if batch_norm else torch.nn.GroupNorm(2, 6)
        self.model = torch.nn.Sequential(
            torch.nn.Conv2d(1, 6, 3),
            middle,
            torch.nn.ReLU(),
            torch.nn.Dropout(0.3),
            torch.nn.Flatten(),
            torch.nn.Linear(6 * 36, 4),
        )
        parameters = self.model.parameters()
        self.optimizer: torch.optim.Optimizer
        if optimizer == "sgd":
            self.optimizer = torch.optim.SGD(parameters, 0.05, momentum=0.9, nesterov=True)
        else:
            self.optimizer = torch.optim.AdamW(parameters, 0.01, amsgrad=True)
        self.each_step = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, STEPS)
        self.each_epoch = torch.optim.lr_scheduler.MultiplicativeLR(
            self.optimizer, lr_lambda=_shrink
        )
        self.images = Images()
        more = {"multiprocessing_context": context} if context else {}
        self.loader = data.DataLoader(
            self.images, batch_size=BATCH, shuffle=True, seed=3, num_workers=workers, **more
        )
        self.total_loss = torch.zeros(())
        self.at: Callable[[str, int], None] = lambda place, step: None
        self.now = 0

    @property
    def state(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "each_step": self.each_step,
            "each_epoch": self.each_epoch,
            "loader": self.loader,
            "total_loss": self.total_loss,
        }

    def train(self, ckpt: Any, until: int) -> None:
        """Train from where the Checkpointer says to a number of steps."""
        self.now = ckpt.next_step
        while self.now < until:
            for images, labels in self.loader:
                self.at("with a batch", self.now)
                self.step(images, labels, self.now)
                ckpt.step(self.now, epoch=self.loader.epochs_done)
                self.at("after the step", self.now)
                self.now += 1
                if self.now == until:
                    return
            self.each_epoch.step()
            self.at("after the epoch", self.now)

    def step(self, images: torch.Tensor, labels: torch.Tensor, step: int) -> None:
        # Mixing samples with NumPy's numbers, leaving some out with Python's.
        share = float(np.random.beta(0.4, 0.4))
        images = share * images + (1 - share) * images[torch.randperm(len(images))]
        if random.random() < 0.3:
            images[0] = 0
        loss = torch.nn.functional.cross_entropy(self.model(images), labels)
        self.at("after forward", step)
        self.optimizer.zero_grad()
        loss.backward()
        self.at("after backward", step)
        self.optimizer.step()
        self.at("after the optimizer", step)
        self.each_step.step()
        with torch.no_grad():
            self.total_loss += loss
        self.at("before the step ends", step)

    def fingerprint(self) -> dict[str, str]:
        """Return a digest of every leaf, the generators' states among them."""
        leaves = {
            **{n: v.state_dict() if hasattr(v, "state_dict") else v for n, v in self.state.items()},
            "python": random.getstate(),
            "numpy": np.random.get_state(),
            "torch": torch.get_rng_state(),
        }
        return {path: _digest(leaf) for path, leaf in _leaves(leaves, "")}


def _shrink(epoch: int) -> float:
    return 0.9


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _leaves(child, f"{path}/{key}")
    elif isinstance(value, list | tuple) and len(value) < 100:
        for i, child in enumerate(value):
            yield from _leaves(child, f"{path}/{i}")
    else:
        yield path, value


def _digest(leaf: Any) -> str:
    if isinstance(leaf, torch.Tensor):
        leaf = leaf.detach().numpy()
    if isinstance(leaf, np.ndarray):
        return hashlib.sha256(f"{leaf.dtype}{leaf.shape}".encode() + leaf.tobytes()).hexdigest()
    return f"{type(leaf).__name__} {leaf!r}"


class Nobody:
    """Stands for a Checkpointer where nothing is saved."""

    def __init__(self, next_step: int) -> None:
        self.next_step = next_step

    def step(self, step: int, **_: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--context")
    parser.add_argument("--every", type=int, default=1000)
    parser.add_argument("--die", help="how: exit, kill, term (this process), or group (all of it)")
    parser.add_argument("--at", help="PLACE:STEP where it dies")
    args = parser.parse_args()
    training = Training(workers=args.workers, context=args.context)
    if args.die:
        place, _, step = args.at.partition(":")
        training.at = _death(args.die, place, int(step))
    policy = every(steps=args.every) | on.signal() | on.exception()
    with Checkpointer(args.store, training.state, run=RUN, save=policy) as ckpt:
        ckpt.restore()
        training.train(ckpt, STEPS)


def _death(how: str, place: str, step: int) -> Callable[[str, int], None]:
    def at(here: str, now: int) -> None:
        if (here, now) != (place, step):
            return
        if how == "exit":
            os._exit(9)
        elif how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "term":
            os.kill(os.getpid(), signal.SIGTERM)
        elif how == "group":
            os.killpg(0, signal.SIGTERM)
        else:
            sys.exit(f"{how} is no way to die")

    return at


if __name__ == "__main__":
    main()
