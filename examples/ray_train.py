"""Ray Train: a worker that dies is started again by Ray, and training goes on where it was.

    python examples/ray_train.py --store ckpts --steps 1000

Two workers train together. Kill one of them, or the whole command and run it again: it ends with
the same weights, to the last bit, as a run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from torch.nn.functional import mse_loss
from torch.nn.parallel import DistributedDataParallel

import holdfast
from holdfast import every, keep
from holdfast.ray import CheckpointManager


def train(config: dict[str, Any]) -> None:
    """What each worker does."""
    torch.manual_seed(ray.train.get_context().get_world_rank())
    torch.set_num_threads(1)  # The network is too small for more to be of use.
    net = torch.nn.Sequential(
        torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Dropout(0.05), torch.nn.Linear(32, 1)
    )
    model = DistributedDataParallel(net)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config["steps"])
    state = {"model": model, "optimizer": optimizer, "scheduler": scheduler}

    with CheckpointManager(
        config["store"], state, run=config["run"], save=every(steps=50), keep=keep.last(3)
    ) as ckpt:
        restored = ckpt.restore()
        if restored:
            print(f"resumed from {restored.ref}", flush=True)
        for step in range(ckpt.next_step, config["steps"]):
            # Each worker draws numbers of its own, which go on where they were after a resume.
            x = 6.0 * torch.rand(32, 1)
            loss = mse_loss(model(x), torch.sin(x))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            if step % 10 == 0:
                print(step, {"loss": round(loss.item(), 4), "pid": os.getpid()}, flush=True)
            ckpt.step(step, metrics={"loss": loss.item()})
        ckpt.save(config["steps"] - 1, tag="final", metrics={"loss": loss.item()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="ckpts", help="folder of the checkpoints")
    parser.add_argument("--run", default="waves", help="name of the run")
    parser.add_argument("--steps", type=int, default=1000, help="steps to train in all")
    parser.add_argument("--workers", type=int, default=2, help="processes that train together")
    args = parser.parse_args()

    store = Path(args.store).absolute()  # Workers are started in folders of their own.
    ray.init(num_cpus=args.workers, include_dashboard=False)
    trainer = TorchTrainer(
        train,
        train_loop_config={"store": str(store), "run": args.run, "steps": args.steps},
        scaling_config=ScalingConfig(
            num_workers=args.workers, resources_per_worker={"CPU": 1}, placement_strategy="PACK"
        ),
        run_config=RunConfig(
            name=args.run,
            storage_path=str(store / "ray"),
            failure_config=FailureConfig(max_failures=3),
        ),
    )
    trainer.fit()
    ray.shutdown()
    final = holdfast.Store(store).info(f"{args.run}@final")
    print(f"done: {args.run}@final", {name: round(v, 4) for name, v in final.metrics.items()})


if __name__ == "__main__":
    main()
