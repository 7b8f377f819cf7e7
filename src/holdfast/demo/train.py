"""A training script as anybody would write one: a small network learns to read digits.

Run it, kill it, run it again: ``python -m holdfast.demo.train --store ckpts --run digits``.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from holdfast import Checkpointer, every
from holdfast.data import DataLoader

SEED = 7
SAVE_EVERY = 25


class Digits:
    """Handwritten digits of 8 × 8 pixels; those to learn from are moved about and blurred."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, *, augment: bool) -> None:
        self.images, self.labels, self.augment = images, labels, augment

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = self.images[index]
        if self.augment:
            down, right = torch.randint(-1, 2, (2,)).tolist()
            image = image.roll((down, right), dims=(1, 2)) + 0.1 * torch.randn(image.shape)
        return image, self.labels[index]


def load_data() -> tuple[Digits, Digits]:
    """Return four fifths to learn from and one fifth to validate with."""
    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    classes = torch.tensor(labels)
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(SEED))
    held_out = len(classes) // 5
    learn, check = order[held_out:], order[:held_out]
    return (
        Digits(pixels[learn], classes[learn], augment=True),
        Digits(pixels[check], classes[check], augment=False),
    )


def make_model() -> nn.Sequential:
    """Return a small convolutional network with batch norm and dropout."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64 * 4 * 4, 128),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(128, 10),
    )


def validate(model: nn.Module, data: Digits) -> dict[str, float]:
    """Return loss and accuracy on data that the model does not learn from."""
    model.eval()
    with torch.no_grad():
        scores = model(data.images)
    model.train()
    return {
        "val_loss": nn.functional.cross_entropy(scores, data.labels).item(),
        "val_acc": (scores.argmax(1) == data.labels).float().mean().item(),
    }


def endless(loader: DataLoader) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Go through the data again and again, in another order each time."""
    while True:
        yield from loader


def train(store: Path, run: str, steps: int, report_every: int) -> None:
    """Train from wherever the run stands to the last step."""
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # The network is too small for more to be of use.

    to_learn, to_check = load_data()
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    loader = DataLoader(to_learn, batch_size=64, shuffle=True, seed=SEED)

    state = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "loader": loader}
    with Checkpointer(store, state, run=run, save=every(steps=SAVE_EVERY)) as ckpt:
        restored = ckpt.restore()
        if restored is not None:
            print(
                f"resumed from {restored.ref}: {ckpt.next_step} of {steps} steps are done",
                flush=True,
            )

        batches = endless(loader)
        for step in range(ckpt.next_step, steps):
            images, labels = next(batches)
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()

            metrics = {"loss": loss.item()}
            if step % SAVE_EVERY == 0:
                metrics |= validate(model, to_check)
            if step % report_every == 0:
                figures = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
                print(f"step {step}  {figures}", flush=True)
            ckpt.step(step, metrics=metrics)

        ckpt.save(steps - 1, tag="final", metrics=validate(model, to_check)).wait()
        held = [save.held_s for save in ckpt.stats]
        print(
            f"{len(held)} saves, each held the loop for {statistics.median(held) * 1e3:.1f} ms "
            f"(median; longest {max(held) * 1e3:.1f} ms)",
            flush=True,
        )


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train a small network to read digits.")
    parser.add_argument("--store", type=Path, required=True, help="where the checkpoints go")
    parser.add_argument("--run", default="digits", help="name of the run")
    parser.add_argument("--steps", type=int, default=500, help="steps to train in all")
    parser.add_argument("--report-every", type=int, default=25, help="steps between two lines")
    args = parser.parse_args()
    train(args.store, args.run, args.steps, args.report_every)


if __name__ == "__main__":
    main()
