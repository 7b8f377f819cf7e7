"""One process as any rank of many: a state that lies over them, and what holdfast plans of it.

Mesh and placements are stand-ins with PyTorch's own ``Shard`` and ``Replicate``; all that is made
of them is what a real rank makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.tensor import Replicate, Shard

from holdfast import frameworks
from holdfast.engine.job import SaveJob
from holdfast.engine.new_job import job_of
from holdfast.format import part as part_format
from holdfast.format.names import RunKeys
from holdfast.format.part import ChunkRow, PackRow
from holdfast.frameworks import torch_dtensors
from holdfast.plan.layout import CHUNK_BYTES, align, plan_layout
from holdfast.plan.sharing import Shares
from holdfast.state import arrays
from holdfast.state.collector import collector_paused
from holdfast.state.flatten import flatten
from holdfast.state.sharding import Sharing, register_held

RUN = "simulated"
INCARNATION = "1" * 32
# Ranks of one machine.
NODE = 8
SHARDS = 512


class Mesh:
    """Ranks 0, 1, 2, … in rows, and where this one is."""

    def __init__(self, shape: Sequence[int], rank: int) -> None:
        self.mesh = torch.arange(int(torch.tensor(shape).prod())).reshape(*shape)
        self._here = [int(n) for n in (self.mesh == rank).nonzero()[0]]

    def size(self, dim: int) -> int:
        return int(self.mesh.shape[dim])

    def get_coordinate(self) -> list[int]:
        return self._here


class Sharded:
    """What holdfast asks a DTensor for."""

    def __init__(self, mesh: Mesh, placements: Any, shape: Any, local: torch.Tensor) -> None:
        self.device_mesh, self.placements, self.shape = mesh, placements, shape
        self._local = local

    def to_local(self) -> torch.Tensor:
        return self._local


class _Adapter:
    framework, mutable = "simulated", True

    def is_array(self, value: object) -> bool:
        return type(value) is Sharded


@dataclass(frozen=True)
class Group:
    """What a job asks of ranks."""

    rank: int
    world_size: int

    def next_id(self, step: int) -> str:
        return f"{step:032x}"


def register() -> None:
    """Make the stand-ins known."""
    frameworks.activate()
    arrays.register_adapter(_Adapter())  # type: ignore[arg-type]
    register_held(lambda value: type(value) is Sharded, torch_dtensors.held, lambda: True)


def layout(kind: str, world: int) -> tuple[tuple[int, ...], Any]:
    """Return the shape of the mesh, and how a matrix lies on it."""
    if kind == "fsdp":
        return (world,), (Shard(0),)
    if kind == "hsdp":
        shards = SHARDS if world > SHARDS else max(1, world // 2)
        return (world // shards, shards), (Replicate(), Shard(0))
    if kind == "fsdp+tp":
        return (world // NODE, NODE), (Shard(0), Shard(1))
    raise ValueError(kind)


def state_of(kind: str, world: int, rank: int, n_leaves: int) -> dict[str, Any]:
    """Return a model and the moments of its optimizer, as they lie on a rank."""
    if kind == "ddp":
        make = _whole
    else:
        shape, placements = layout(kind, world)
        mesh = Mesh(shape, rank)

        def make(at: int, shape: tuple[int, ...]) -> Any:
            return _shard(mesh, placements, at, shape)

    n = n_leaves // 3
    # Matrices and biases, as in a transformer.
    shapes = [(8192, 512), (2048, 2048), (8192,)]
    made = [make(i, shapes[i % 3]) for i in range(3 * n)]
    names = [f"layers.{i // 12}.part{i % 12}.weight" for i in range(n)]
    moments = {
        i: {"step": i % 7, "exp_avg": made[n + i], "exp_avg_sq": made[2 * n + i]} for i in range(n)
    }
    return {"model": dict(zip(names, made[:n], strict=True)), "optimizer": {"state": moments}}


_memory = torch.empty(0)


def _room(at: int, shape: Sequence[int]) -> torch.Tensor:
    """Return memory of a shape, at an address of its own; nobody touches it."""
    global _memory
    n = int(torch.tensor(shape).prod())
    if len(_memory) < at * 4 + n:
        _memory = torch.empty(1 << 26)
    return _memory[at * 4 : at * 4 + n].view(*shape)


def _whole(at: int, shape: tuple[int, ...]) -> torch.Tensor:
    return _room(at, shape)


def _shard(mesh: Mesh, placements: Any, at: int, shape: tuple[int, ...]) -> Sharded:
    if len(shape) == 1:
        placements = tuple(p if p.is_replicate() or p.dim == 0 else Replicate() for p in placements)
    local = list(shape)
    for dim, placement in enumerate(placements):
        if not placement.is_replicate():
            size = local[placement.dim]
            step = -(-size // mesh.size(dim))
            first = min(mesh.get_coordinate()[dim] * step, size)
            local[placement.dim] = min(first + step, size) - first
    return Sharded(mesh, placements, shape, _room(at, local))


def plan(state: dict[str, Any], world: int, rank: int) -> SaveJob:
    """Return what a rank does between a call of ``save`` and its snapshot."""
    ranks: Any = Group(rank, world)
    with collector_paused():
        sharing = Sharing(rank, world, Shares().writer_of, lambda path: path == "@rng", CHUNK_BYTES)
        flat = flatten(state, sharing=sharing)
        where = plan_layout((leaf.path, leaf.spec.nbytes) for leaf in flat.leaves)
        return job_of(flat, where, RUN, step=1, ranks=ranks, incarnation=INCARNATION)


def part(job: SaveJob) -> bytes:
    """Return the part that a rank writes, its chunks in one pack at made-up places."""
    at, rows = 0, []
    for i, length in enumerate(job.layout.lengths):
        name = i.to_bytes(4, "little") * 8
        rows.append(ChunkRow(name, name[:16], length, 0, at))
        at += align(length, 4096)
    packs = [PackRow(RunKeys(RUN).pack(job.id, job.rank * 100_000), at)] if rows else []
    return part_format.complete(job.plan, rows, packs)
