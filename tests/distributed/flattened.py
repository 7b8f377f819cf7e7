"""Models that FSDP1 flattens, and the same of FSDP2: ``FOLDER``; each saved, restored into each.

Both give their states by names through PyTorch's ``get_state_dict``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from stages import stages
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy

from holdfast import Checkpointer, load
from holdfast.errors import HoldfastError

KINDS = ("flat", "named", "fsdp2")
STEPS = 3


class Training:
    """A module and its optimizer, by the names of the parameters."""

    def __init__(self, kind: str, seed: int) -> None:
        torch.manual_seed(seed)
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        self.model: Any = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
        if kind == "fsdp2":
            fully_shard(self.model, mesh=mesh)
        else:
            self.model = FullyShardedDataParallel(
                self.model,
                device_id=torch.device("cpu"),
                auto_wrap_policy=ModuleWrapPolicy({nn.Linear}),
                use_orig_params=kind == "named",
                # With a mesh it gives DTensors, without one ShardedTensors.
                device_mesh=mesh if kind == "named" else None,
            )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2)

    def step(self, step: int) -> None:
        """Do one step, the same on all ranks."""
        batch = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
        self.optimizer.zero_grad()
        self.model(batch).square().sum().backward()
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state by names, sharded as it lies."""
        model, moments = get_state_dict(self.model, self.optimizer)
        return {"model": model, "optimizer": moments}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a state that is sharded as it lies here."""
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )

    def whole(self) -> dict[str, torch.Tensor]:
        """Return all tensors, whole, by their paths."""
        options = StateDictOptions(full_state_dict=True)
        model, moments = get_state_dict(self.model, self.optimizer, options=options)
        found = {f"model/{name}": tensor for name, tensor in model.items()}
        for name, entry in moments["state"].items():
            found |= {f"optimizer/state/{name}/{key}": entry[key] for key in entry}
        return found


def save(folder: Path) -> None:
    """Save each kind, in one checkpoint; see that flat moments are refused."""
    state: dict[str, Any] = {kind: Training(kind, seed=1) for kind in KINDS}
    with Checkpointer(folder / "ckpts", state, run="r") as ckpt:
        assert ckpt.restore() is None
        for training in state.values():
            for step in range(STEPS):
                training.step(step)
        ckpt.save(STEPS).wait()
        wholes = {kind: training.whole() for kind, training in state.items()}
        if dist.get_rank() == 0:
            torch.save(wholes, folder / "whole.pt")
        state["optimizer"] = state["flat"].optimizer
        try:
            ckpt.save(STEPS + 1)
        except HoldfastError as error:
            print("refused", error.message, flush=True)


def restore(folder: Path) -> None:
    """Restore each kind into each."""
    expected = torch.load(folder / "whole.pt", weights_only=True)
    for turn in range(len(KINDS)):
        into = dict(zip(KINDS, (*KINDS[turn:], *KINDS[:turn]), strict=True))
        state = {saved: Training(kind, seed=2) for saved, kind in into.items()}
        if turn == 0:
            with Checkpointer(folder / "ckpts", state, run="r") as ckpt:
                assert ckpt.restore() is not None
        else:
            load(folder / "ckpts", "r@latest", into=state)
        for saved, kind in into.items():
            found = state[saved].whole()
            assert found.keys() == expected[saved].keys()
            for name, tensor in found.items():
                assert torch.equal(tensor, expected[saved][name]), (saved, kind, name)
            print("restored", saved, "as", kind, flush=True)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    save(Path(sys.argv[1]))
    dist.barrier()
    restore(Path(sys.argv[1]))
    stages(Path(sys.argv[1]) / "stages")
    dist.destroy_process_group()
