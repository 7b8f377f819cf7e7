"""Models that lie over ranks in several ways, and a training that is the same over all of them.

All ranks see the same batch, so that what is trained does not depend on how many there are.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

WIDTH, HIDDEN = 12, 30


class Net(nn.Module):
    """Two layers of odd sizes, and a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, HIDDEN)
        self.down = nn.Linear(HIDDEN, WIDTH)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(torch.relu(self.up(x)))


def kinds(world_size: int) -> list[str]:
    """Return the ways in which a model can lie over so many ranks."""
    found = ["ddp", "fsdp"]
    if world_size in (2, 3):
        found += ["tp", "zero"]
    if world_size % 2 == 0 and world_size > 2:
        found += ["hsdp", "2d"]
    return found


def is_tried(name: str, kind: str) -> bool:
    """Say whether a short test restores what is called so into this kind of model.

    What is of the same kind, and every other one of the rest.
    """
    saved_kind, _, n = name.partition("-")
    return saved_kind == kind or (len(saved_kind) + len(kind) + int(n)) % 2 == 0


def made(kind: str, seed: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return the model, laid out over the ranks, and its optimizer."""
    torch.manual_seed(seed)
    model: Any = Net()
    world = dist.get_world_size()
    if kind == "fsdp":
        model = fully_shard(model, mesh=init_device_mesh("cpu", (world,)))
    elif kind == "hsdp":
        mesh = init_device_mesh("cpu", (2, world // 2), mesh_dim_names=("copies", "shards"))
        model = fully_shard(model, mesh=mesh)
    elif kind == "tp":
        _parallelize(model, init_device_mesh("cpu", (world,)))
    elif kind == "2d":
        mesh = init_device_mesh("cpu", (world // 2, 2), mesh_dim_names=("dp", "tp"))
        _parallelize(model, mesh["tp"])
        model = fully_shard(model, mesh=mesh["dp"])
    elif kind == "zero":
        adam = torch.optim.AdamW
        return model, ZeroRedundancyOptimizer(model.parameters(), adam, lr=1e-2)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2)


def _parallelize(model: nn.Module, mesh: Any) -> None:
    parallelize_module(model, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})


def train(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> float:
    """Do one step; return its loss."""
    batch = torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(step))
    optimizer.zero_grad()
    loss = (model(batch) - batch).pow(2).mean()
    loss.backward()
    optimizer.step()
    getattr(model, "module", model).seen += 1  # DDP has it as its module.
    return loss.item()


def full(value: Any) -> torch.Tensor:
    """Return all of a tensor, wherever it lies."""
    value = value.detach()
    return value.full_tensor() if isinstance(value, DTensor) else value


def moments(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    """Return the state of an optimizer; every rank must ask."""
    if not isinstance(optimizer, ZeroRedundancyOptimizer):
        return optimizer.state_dict()["state"]
    found = {}
    for rank in range(dist.get_world_size()):
        optimizer.consolidate_state_dict(rank)
        if rank == dist.get_rank():
            found = optimizer.state_dict()["state"]
    return found


def digest(model: nn.Module, optimizer: torch.optim.Optimizer) -> str:
    """Return a digest of every bit that training goes by."""
    found = hashlib.sha256()
    for tensor in model.state_dict().values():
        found.update(full(tensor).contiguous().numpy().tobytes())
    for state in moments(optimizer).values():
        for name in sorted(state):
            found.update(full(state[name]).contiguous().numpy().tobytes())
    return found.hexdigest()
