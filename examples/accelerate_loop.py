"""A training loop with Accelerate, killed at any moment, goes on where it was.

    python examples/accelerate_loop.py --store ckpts --steps 400

Needs torchdata for a data loader that knows its place in the epoch.
"""

from __future__ import annotations

import argparse

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, set_seed
from torch import nn
from torch.nn.functional import cross_entropy

from holdfast import Checkpointer, every, keep, on
from holdfast.accelerate import state_of
from holdfast.data import SeededDataset


class Rings(torch.utils.data.Dataset):
    """Points on three rings; which one, is to be learned. Each time a point lies elsewhere."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        angle, label = torch.tensor(index * 0.37), index % 3
        point = (label + 1.0) * torch.stack([angle.cos(), angle.sin()])
        return point + 0.1 * torch.randn(2), label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="ckpts", help="folder of the checkpoints")
    parser.add_argument("--run", default="rings", help="name of the run")
    parser.add_argument("--steps", type=int, default=400, help="batches to train in all")
    parser.add_argument("--workers", type=int, default=0, help="processes that load data")
    args = parser.parse_args()

    set_seed(0)
    torch.set_num_threads(1)  # The network is too small for more to be of use.
    accelerator = Accelerator(
        cpu=True,
        gradient_accumulation_steps=2,
        dataloader_config=DataLoaderConfiguration(
            use_seedable_sampler=True, use_stateful_dataloader=True
        ),
    )
    dataset = SeededDataset(Rings(900), seed=0)
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=args.steps)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=30, shuffle=True, num_workers=args.workers
    )
    model, optimizer, scheduler, loader = accelerator.prepare(model, optimizer, scheduler, loader)

    with Checkpointer(
        args.store,
        state_of(accelerator),
        run=args.run,
        save=every(steps=40) | on.signal() | on.exception(),
        keep=keep.last(3),
    ) as ckpt:
        restored = ckpt.restore()
        if restored:
            print(f"resumed from {restored.ref}", flush=True)
        step = ckpt.next_step
        while step < args.steps:
            dataset.set_epoch(loader.iteration)
            for points, labels in loader:
                with accelerator.accumulate(model):
                    loss = cross_entropy(model(points), labels)
                    accelerator.backward(loss)
                    optimizer.step()
                    scheduler.step()
                    optimizer.zero_grad()
                if step % 20 == 19:
                    print(step, {"loss": round(loss.item(), 4)}, flush=True)
                if accelerator.sync_gradients:  # In between, gradients are no part of the state.
                    ckpt.step(step, metrics={"loss": loss})
                step += 1
                if step == args.steps:
                    break
        ckpt.save(args.steps - 1, tag="final").wait()
    print(f"done: {args.run}@final", flush=True)


if __name__ == "__main__":
    main()
