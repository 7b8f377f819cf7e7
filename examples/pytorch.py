"""A PyTorch training script that can be killed at any moment, and goes on where it was.

    python examples/pytorch.py --store ckpts --steps 2000

Press Ctrl-C, send SIGTERM or SIGKILL, pull the plug; then run the same command again. It ends with
the same weights, to the last bit, as a run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from holdfast import Checkpointer, every, keep, on
from holdfast.data import DataLoader


class Spirals(torch.utils.data.Dataset):
    """Points on three spirals; which one, is to be learned. Each time a point lies elsewhere."""

    def __init__(self, count: int, noise: float) -> None:
        self.count, self.noise = count, noise

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        label = index % 3
        radius = (index + 1) / self.count
        angle = 8 * radius + 2 * math.pi * label / 3
        point = torch.tensor([radius * math.cos(angle), radius * math.sin(angle)])
        return point + self.noise * torch.randn(2), label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="ckpts", help="folder of the checkpoints")
    parser.add_argument("--run", default="spirals", help="name of the run")
    parser.add_argument("--steps", type=int, default=2000, help="steps to train in all")
    parser.add_argument("--workers", type=int, default=0, help="processes that load data")
    args = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(1)  # The network is too small for more to be of use.
    model = nn.Sequential(
        nn.Linear(2, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.steps)
    loader = DataLoader(Spirals(1536, noise=0.02), batch_size=64, seed=0, num_workers=args.workers)
    unseen = Spirals(300, noise=0.0)
    held_out = torch.utils.data.default_collate([unseen[i] for i in range(len(unseen))])

    with Checkpointer(
        args.store,
        {"model": model, "optimizer": optimizer, "scheduler": scheduler, "loader": loader},
        run=args.run,
        save=every(steps=50) | on.best("val_loss") | on.signal() | on.exception(),
        keep=keep.last(3) | keep.best("val_loss"),
    ) as ckpt:
        restored = ckpt.restore()
        if restored:
            print(f"resumed from {restored.ref}", flush=True)

        step = ckpt.next_step
        while step < args.steps:
            for points, labels in loader:
                loss = cross_entropy(model(points), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
                metrics = {"loss": loss.item()}
                if step % 25 == 0:
                    metrics |= validate(model, *held_out)
                    print(step, {k: round(v, 4) for k, v in metrics.items()}, flush=True)
                ckpt.step(step, metrics=metrics, epoch=loader.epochs_done)
                step += 1
                if step == args.steps:
                    break
        ckpt.save(args.steps - 1, tag="final", metrics=validate(model, *held_out)).wait()
    print(f"done: {args.run}@final", flush=True)


def validate(model: nn.Module, points: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        scores = model(points)
    model.train()
    right = (scores.argmax(1) == labels).float().mean()
    return {"val_loss": cross_entropy(scores, labels).item(), "val_acc": right.item()}


if __name__ == "__main__":
    main()
