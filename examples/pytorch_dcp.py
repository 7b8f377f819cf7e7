"""PyTorch's distributed checkpoints on a holdfast store, killed at any moment.

    python examples/pytorch_dcp.py --store ckpts --steps 400

``dcp.async_save`` and ``dcp.load`` are used as everywhere; only the storage is another. With
several processes each saves its own part.
"""

from __future__ import annotations

import argparse
import warnings

import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.stateful import Stateful

import holdfast
from holdfast import keep
from holdfast.data import DataLoader
from holdfast.dcp import HoldfastReader, HoldfastWriter


class Training(Stateful):
    """All that goes into a checkpoint, by PyTorch's own recipe."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, **others: object):
        self.model, self.optimizer, self.others = model, optimizer, others
        self.step = 0

    def state_dict(self) -> dict[str, object]:
        model, optimizer = get_state_dict(self.model, self.optimizer)
        others = {name: other.state_dict() for name, other in self.others.items()}
        # All that differs from step to step. A copy: it is saved while training goes on.
        own = {"step": self.step, "rng": torch.get_rng_state()}
        return {"model": model, "optimizer": optimizer, **others, **own}

    def load_state_dict(self, state: dict) -> None:
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )
        for name, other in self.others.items():
            other.load_state_dict(state[name])
        self.step = state["step"]
        torch.set_rng_state(state["rng"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="ckpts", help="folder of the checkpoints")
    parser.add_argument("--run", default="parity", help="name of the run")
    parser.add_argument("--steps", type=int, default=400, help="steps to train in all")
    args = parser.parse_args()

    warnings.filterwarnings("ignore", module="torch.distributed")
    torch.manual_seed(0)
    torch.set_num_threads(1)  # The network is too small for more to be of use.
    numbers = torch.arange(256)
    bits = (numbers[:, None] >> torch.arange(8)) & 1
    data = torch.utils.data.TensorDataset(bits.float(), bits.sum(1) % 2)
    model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Dropout(0.1), nn.Linear(64, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=args.steps)
    loader = DataLoader(data, batch_size=24, seed=0)
    training = Training(model, optimizer, scheduler=scheduler, loader=loader)

    if args.run in known_runs(args.store):
        reader = HoldfastReader(args.store, run=args.run)  # The newest that verifies.
        dcp.load({"training": training}, storage_reader=reader)
        print(f"resumed from {args.run}@{training.step}", flush=True)

    writer = HoldfastWriter(args.store, run=args.run, keep=keep.last(3))
    saving = None
    while training.step < args.steps:
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            training.step += 1
            if training.step % 50 == 0 or training.step == args.steps:
                if saving is not None:
                    saving.result()  # What went wrong with the save before is told here.
                saving = dcp.async_save(
                    {"training": training},
                    checkpoint_id=f"step-{training.step}",
                    storage_writer=writer,
                )
            if training.step % 25 == 0:
                print(training.step, {"loss": round(loss.item(), 4)}, flush=True)
            if training.step == args.steps:
                break
    if saving is not None:
        saving.result()
    holdfast.Store(args.store).tag(f"{args.run}@latest", "final")
    print(f"done: {args.run}@final", flush=True)


def known_runs(store: str) -> list[str]:
    try:
        return holdfast.Store(store).runs()
    except holdfast.errors.NotFound:
        return []


if __name__ == "__main__":
    main()
