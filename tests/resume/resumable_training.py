"""A training script with everything that makes exact resume hard; run by test_exact_resume."""

from __future__ import annotations

import argparse
import os
import random
import signal

import numpy as np
import torch

import holdfast
from holdfast import Checkpointer, every, on
from holdfast.data import DataLoader


class Augmented(torch.utils.data.Dataset):
    """64 samples with noise from all three random generators."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(7)
        self.x = torch.randn(64, 8, generator=generator)
        self.y = torch.randint(0, 3, (64,), generator=generator)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        noise = torch.randn(8) * 0.1 + float(np.random.rand()) * 0.01 + random.random() * 0.01
        return self.x[i] + noise, self.y[i]


def build(optimizer: str, workers: int) -> dict[str, object]:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(8, 16),
        torch.nn.BatchNorm1d(16),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(16, 3),
    )
    parameters = model.parameters()
    made = (
        torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True)
        if optimizer == "sgd"
        else torch.optim.AdamW(parameters, lr=1e-2, amsgrad=True)
    )
    return {
        "model": model,
        "optimizer": made,
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(made, 50),
        "loader": DataLoader(Augmented(), batch_size=8, seed=3, num_workers=workers),
        "own": {"rng": np.random.default_rng(5), "history": []},
    }


def train_step(state: dict[str, object], batch: list[torch.Tensor]) -> float:
    x, y = batch
    state["optimizer"].zero_grad()
    loss = torch.nn.functional.cross_entropy(state["model"](x), y)
    loss.backward()
    state["optimizer"].step()
    state["scheduler"].step()
    # The loop's own randomness counts too.
    state["own"]["history"].append(
        loss.item() + random.random() + float(np.random.rand()) + state["own"]["rng"].random()
    )
    return loss.item()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--identity", help="file of the key, for an encrypted store")
    parser.add_argument("--run", default="r")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--optimizer", default="sgd")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--die-after", type=int, default=-1)
    parser.add_argument("--die-how", default="kill")
    args = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    state = build(args.optimizer, args.workers)
    policy = every(steps=args.every) | on.signal() | on.exception()
    keys = holdfast.keys.identity(args.identity) if args.identity else None
    store = holdfast.Store(args.store, keys=keys)
    with Checkpointer(store, state, run=args.run, save=policy) as ckpt:
        restored = ckpt.restore()
        print("RESTORED", restored.step if restored else None, flush=True)
        step = ckpt.next_step
        while step < args.steps:
            for batch in state["loader"]:
                if args.die_how == "raise-before-step" and step == args.die_after + 1:
                    raise RuntimeError("planned")
                loss = train_step(state, batch)
                if args.die_how == "raise-in-step" and step == args.die_after + 1:
                    raise RuntimeError("planned")
                handle = ckpt.step(step, metrics={"loss": loss})
                print("STEP", step, flush=True)
                if step == args.die_after:
                    die(args.die_how, handle)
                step += 1
                if step >= args.steps:
                    break
        ckpt.save(args.steps, tag="final").wait()


def die(how: str, handle: holdfast.SaveHandle | None) -> None:
    if how == "kill":
        if handle is not None:
            handle.wait()
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "term":
        os.kill(os.getpid(), signal.SIGTERM)
    elif how == "term-group":
        os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    main()
