"""A model that is large enough for what a rank reads to show: its own boxes, and hardly more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from training import digest

from holdfast import Checkpointer
from holdfast.engine.restore import Wanted, restore_checkpoint
from holdfast.history.refs import resolve
from holdfast.records.opening import open_store


class Wide(nn.Module):
    """Rows of odd lengths and numbers, 5 MB of them; thrice that with the optimizer's."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(3001, 256)
        self.up = nn.Linear(256, 1030)
        self.down = nn.Linear(1030, 256)
        self.norm = nn.LayerNorm(256)


def made(seed: int, *, is_sharded: bool) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return the model, by rows over all ranks or in one piece, and its optimizer, once used."""
    torch.manual_seed(seed)
    model: Any = Wide()
    if is_sharded:
        model = fully_shard(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) * seed
    optimizer.step()
    return model, optimizer


def save_shares(folder: Path) -> None:
    """Save the model; a single process has it in one piece."""
    world = dist.get_world_size()
    model, optimizer = made(3, is_sharded=world > 1)
    state = {"model": model, "optimizer": optimizer}
    with Checkpointer(folder / f"wide-{world}", state, run="r") as ckpt:
        ckpt.save(1).wait()
    found = digest(model, optimizer)
    if dist.get_rank() == 0:
        (folder / f"wide-{world}.shares").write_text(found)
    _save_cast(folder / f"cast-{world}", model, optimizer)


def _save_cast(store: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Save moments in half their bytes; say what they are then."""
    state, cast = {"model": model, "optimizer": optimizer}, {"optimizer/**": "bfloat16"}
    with Checkpointer(store, state, run="r", cast=cast) as ckpt:
        ckpt.save(1).wait()
    for moments in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            moments[name].copy_(moments[name].to(torch.bfloat16))
    found = digest(model, optimizer)
    if dist.get_rank() == 0:
        store.with_suffix(".cast").write_text(found)


def restore_shares(folder: Path) -> None:
    """Restore what every world size has saved; print what was read, and what this rank has."""
    world, rank = dist.get_world_size(), dist.get_rank()
    for told in sorted(folder.glob("*.shares")):
        model, optimizer = made(9, is_sharded=world > 1)
        state = {"model": model, "optimizer": optimizer}
        store = open_store(folder / told.stem, create=False)
        wanted = Wanted(state, whole=True, rng=True, rank=rank)
        outcome = restore_checkpoint(store, resolve(store, "r@1"), wanted)
        assert digest(model, optimizer) == told.read_text(), told
        print("read", told.stem, outcome.nbytes.read, _local_bytes(state), flush=True)
    for told in sorted(folder.glob("*.cast")):
        model, optimizer = made(9, is_sharded=world > 1)
        # As in a process that has just begun.
        optimizer.state.clear()
        store = open_store(folder / told.stem, create=False)
        wanted = Wanted({"model": model, "optimizer": optimizer}, rank=rank)
        restore_checkpoint(store, resolve(store, "r@1"), wanted)
        assert digest(model, optimizer) == told.read_text(), told


def _local_bytes(state: dict[str, Any]) -> int:
    tensors = list(state["model"].state_dict().values())
    for found in state["optimizer"].state_dict()["state"].values():
        tensors += found.values()
    local = [t.to_local() if isinstance(t, DTensor) else t for t in tensors]
    return sum(t.numel() * t.element_size() for t in local)
