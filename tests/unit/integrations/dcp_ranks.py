"""One of several processes that save and load a sharded model: STORE RANK WORLD_SIZE PORT."""

from __future__ import annotations

import os
import sys
import warnings

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from holdfast import keep
from holdfast.dcp import HoldfastReader, HoldfastWriter
from holdfast.torchtitan import CheckpointManager, Generators

RUN = "sharded"


def model_after(
    steps: int, *, sharded: bool, seed: int = 0
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    # 7 rows cannot be shared out evenly between two.
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))
    if sharded:
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        model(torch.full((2, 5), 1.0 + step)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def state_of(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int
) -> dict[str, object]:
    weights, moments = get_state_dict(model, optimizer)
    return {"model": weights, "optimizer": moments, "step": step, "words": ["a", ("b", None)]}


def save(store: str) -> None:
    for step in (1, 2, 3):
        model, optimizer = model_after(step, sharded=True)
        writer = HoldfastWriter(store, run=RUN, keep=keep.last(2))
        dcp.save(
            state_of(model, optimizer, step), checkpoint_id=f"step-{step}", storage_writer=writer
        )


def load(store: str) -> None:
    model, optimizer = model_after(1, sharded=True, seed=9)
    state = state_of(model, optimizer, 0)
    dcp.load(state, storage_reader=HoldfastReader(store, run=RUN))
    set_state_dict(
        model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"]
    )
    expected, _ = model_after(3, sharded=True)
    assert state["step"] == 3
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours.full_tensor(), theirs.full_tensor())


def manage(store: str) -> None:
    """Save by a manager beside training, and load into another."""
    rank = dist.get_rank()

    def made(steps: int, seed: int) -> tuple[CheckpointManager, torch.nn.Module]:
        model, optimizer = model_after(steps, sharded=True, seed=seed)
        torch.manual_seed(100 * seed + rank)
        return (
            CheckpointManager(
                store,
                run="managed",
                model_parts=[model],
                optimizers=[optimizer],
                states={"generators": Generators(rank)},
                interval=2,
            ),
            model,
        )

    manager, model = made(2, seed=0)
    expected = [p.full_tensor().clone() for p in model.parameters()]
    assert not manager.save(1) and manager.save(2)
    draws = torch.rand(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    manager.close()
    other, model = made(1, seed=5)
    assert other.load()
    assert all(
        torch.equal(p.full_tensor(), e) for p, e in zip(model.parameters(), expected, strict=True)
    )
    assert torch.equal(torch.rand(3), draws)


def main() -> None:
    store, rank, world_size, port = sys.argv[1:]
    warnings.simplefilter("ignore")
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    dist.init_process_group("gloo", rank=int(rank), world_size=int(world_size))
    save(store)
    load(store)
    manage(store)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
