"""PyTorch's DTensors: which boxes of the whole array this rank holds, and who holds the same.

Meshes of any number of dims, with ``Shard`` and ``Replicate`` placements, those of FSDP2, tensor
parallelism and their combinations (strided shards) among them. What is only a partial sum has no
value of its own yet, and is refused.
"""

from __future__ import annotations

import sys
from itertools import accumulate, product
from typing import Any

import torch

from holdfast.errors import UnsupportedLeaf
from holdfast.format.boxes import Box
from holdfast.state.sharding import Held, Piece, register_held


def is_dtensor(value: object) -> bool:
    """Say whether a value is a DTensor; where nobody has imported them there are none."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Return what lies here of a tensor, whatever it is."""
    found: torch.Tensor = tensor.to_local() if is_dtensor(tensor) else tensor
    return found


def is_distributed() -> bool:
    """Say whether this process has others of torch.distributed beside it."""
    dist = torch.distributed
    return bool(dist.is_available() and dist.is_initialized())


def held(value: Any, path: str) -> Held:
    """Return what this rank holds of a DTensor.

    Raises:
        UnsupportedLeaf: It is a partial sum, or lies on a mesh that this rank is not part of.
    """
    mesh, placements = value.device_mesh, value.placements
    at = mesh.get_coordinate()
    if any(placement.is_partial() for placement in placements) or at is None:
        what = "is a partial sum" if at is not None else "lies on a mesh without this rank"
        raise UnsupportedLeaf(
            f"{path!r} is a DTensor that {what}. Nothing was saved. Redistribute it first, or "
            f"leave it out: skip={path!r}.",
            path=path,
            what=f"is a DTensor that {what}",
        )
    here = local(value.detach())
    boxes, holders = _boxes(value, tuple(here.shape), path), _holders(value)
    pieces = [Piece(box, array, holders) for box, array in _with_arrays(boxes, here)]
    return Held(tuple(value.shape), pieces, here)


def _holders(value: Any) -> tuple[int, ...]:
    """Return the ranks that differ from this one along replicated dims of the mesh only."""
    mesh, here = value.device_mesh, value.device_mesh.get_coordinate()
    free = [
        range(mesh.size(dim)) if placement.is_replicate() else (here[dim],)
        for dim, placement in enumerate(value.placements)
    ]
    return tuple(sorted(int(mesh.mesh[index]) for index in product(*free)))


def _boxes(
    value: Any, local_shape: tuple[int, ...], path: str
) -> list[tuple[Box, tuple[slice, ...]]]:
    """Return the boxes of the whole, and where each lies in the local tensor."""
    rows = _local_runs(value, local_shape, path)
    pieces = []
    for runs in product(*rows):
        offset = tuple(at for at, _, _ in runs)
        shape = tuple(n for _, _, n in runs)
        within = tuple(slice(local, local + n) for _, local, n in runs)
        pieces.append((Box(offset, shape), within))
    return pieces


def _local_runs(
    value: Any, local_shape: tuple[int, ...], path: str
) -> list[list[tuple[int, int, int]]]:
    """Return, for each dim, runs of indices held here: global begin, local begin, length."""
    found = []
    for dim, size in enumerate(value.shape):
        runs = _runs(value, dim, size)
        begins = accumulate((n for _, n in runs), initial=0)
        found.append([(at, local, n) for (at, n), local in zip(runs, begins, strict=False)])
        if sum(n for _, n in runs) != local_shape[dim]:
            what = "is laid out in a way that is not known"
            raise UnsupportedLeaf(f"{path!r} {what}; nothing was saved.", path=path, what=what)
    return found


def _runs(value: Any, dim: int, size: int) -> list[tuple[int, int]]:
    """Return the global indices along a dim that this rank holds, in local order, as runs."""
    mesh, here = value.device_mesh, value.device_mesh.get_coordinate()
    runs = [(0, size)]
    splits = [(at, p) for at, p in enumerate(value.placements) if getattr(p, "dim", None) == dim]
    # A strided shard was cut after those that stand behind it in the mesh.
    for at, _ in sorted(splits, key=lambda split: hasattr(split[1], "split_factor")):
        runs = _chunk(runs, mesh.size(at), here[at])
    return runs


def _chunk(runs: list[tuple[int, int]], count: int, which: int) -> list[tuple[int, int]]:
    """Return one of so many chunks of indices, cut as ``torch.chunk`` does; it may be empty.

    >>> _chunk([(0, 3), (6, 3)], 2, 1)
    [(6, 3)]
    """
    total = sum(n for _, n in runs)
    step = -(-total // count)
    first, last = which * step, min((which + 1) * step, total)
    found, seen = [], 0
    for at, n in runs:
        low, high = max(first, seen), min(last, seen + n)
        if low < high:
            found.append((at + low - seen, high - low))
        seen += n
    return found


def _with_arrays(
    boxes: list[tuple[Box, tuple[slice, ...]]], here: torch.Tensor
) -> list[tuple[Box, Any]]:
    whole = len(boxes) == 1 and boxes[0][0].shape == tuple(here.shape)
    return [(box, here if whole else here[within]) for box, within in boxes]


register_held(is_dtensor, held, is_distributed)
