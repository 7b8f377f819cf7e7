"""Tensor parallelism for some layers only: the others lie on a mesh cut from that of all ranks."""

from __future__ import annotations

import sys
from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

from holdfast import Checkpointer
from holdfast.errors import SaveFailed


def made(seed: int, shape: tuple[int, int]) -> dict[str, Any]:
    """Return a model of which one layer is cut in both ways, the other over ``dp`` alone.

    Beside it there is a tensor of two names and of one row, of which all ranks but the first have
    nothing.
    """
    torch.manual_seed(seed)
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=("dp", "tp"))
    model: Any = nn.Sequential(OrderedDict(both=nn.Linear(6, 9), one=nn.Linear(5, 7)))
    parallelize_module(model, mesh["tp"], {"both": ColwiseParallel()})
    fully_shard(model, mesh=mesh["dp"])
    tied = distribute_tensor(
        torch.full((1, 4), seed), init_device_mesh("cpu", (prod(shape),)), [Shard(0)]
    )
    return {"model": model, "table": tied.detach(), "head": tied.detach()}


def whole(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return all of each tensor."""
    return {name: t.full_tensor().clone() for name, t in state["model"].state_dict().items()}


def main(folder: Path) -> None:
    """Save over one mesh, restore over another; then let one rank's copy differ."""
    world = dist.get_world_size()
    state = made(1, (1, world))
    expected = whole(state)
    with Checkpointer(folder, state, run="r", on_error="warn") as ckpt:
        ckpt.save(1).wait()
        state["model"].one.weight.to_local()[-1, -1] += dist.get_rank()
        try:
            ckpt.save(2).wait()
        except SaveFailed as error:
            print("refused", error, flush=True)
    state = made(2, (world, 1))
    tied = state["table"], state["head"]
    with Checkpointer(folder, state, run="r") as ckpt:
        assert ckpt.restore() is not None
    assert all(torch.equal(t, expected[name]) for name, t in whole(state).items())
    assert all(t is state[name] for t, name in zip(tied, ("table", "head"), strict=True))
    assert all(torch.equal(t.full_tensor(), torch.full((1, 4), 1)) for t in tied)
    print("restored", flush=True)
    if dist.get_rank() == 0:
        torch.save(expected, folder / "whole.pt")


if __name__ == "__main__":
    dist.init_process_group("gloo")
    with torch.no_grad():
        main(Path(sys.argv[1]))
    dist.barrier()
    dist.destroy_process_group()
