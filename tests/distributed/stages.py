"""Stages of a pipeline: each rank has a module of its own, and its optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from holdfast import Checkpointer

OWN = ["stage/**", "optimizer/**"]


def made(seed: int) -> dict[str, Any]:
    """Return the stage of this rank: other layers than those of the next one."""
    torch.manual_seed(seed)
    rank = dist.get_rank()
    stage = nn.Sequential(*(nn.Linear(4 + rank, 4 + rank) for _ in range(1 + rank)))
    optimizer = torch.optim.AdamW(stage.parameters())
    stage(torch.ones(1, 4 + rank)).sum().backward()
    optimizer.step()
    return {"stage": stage, "optimizer": optimizer, "step": seed}


def values(state: dict[str, Any]) -> list[torch.Tensor]:
    """Return every tensor of a stage."""
    moments = [v for entry in state["optimizer"].state.values() for v in entry.values()]
    return [t.detach().clone() for t in (*state["stage"].parameters(), *moments)]


def stages(folder: Path) -> None:
    """Save and restore them."""
    state = made(1)
    expected = values(state)
    with Checkpointer(folder, state, run="r", per_rank=OWN) as ckpt:
        ckpt.save(1).wait()
        state.update(made(2))
        assert ckpt.restore() is not None
    assert state["step"] == 1
    assert all(torch.equal(a, b) for a, b in zip(values(state), expected, strict=True))
    print("restored stage", dist.get_rank(), flush=True)
