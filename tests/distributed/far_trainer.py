"""One rank of a training with a far tier: ``HOME FAR STEPS``."""

from __future__ import annotations

import sys

import torch.distributed as dist
from training import made, train

from holdfast import Checkpointer, every, tier


def main(home: str, far: str, steps: str) -> None:
    dist.init_process_group("gloo")
    model, optimizer = made("ddp")
    tiers = [tier.far(far, save=every(steps=4))]
    state = {"model": model, "optimizer": optimizer}
    with Checkpointer(home, state, run="r", save=every(steps=3), tiers=tiers) as ckpt:
        restored = ckpt.restore()
        print("restored", (restored.step, restored.tier) if restored else None, flush=True)
        for step in range(ckpt.next_step, int(steps)):
            train(model, optimizer, step)
            ckpt.step(step)
            ckpt.wait()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
