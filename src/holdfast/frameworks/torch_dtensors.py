"""PyTorch's DTensors: which boxes of the whole array this rank holds, and who holds the same.

Meshes of any number of dims, with ``Shard`` and ``Replicate`` placements, those of FSDP2, tensor
parallelism and their combinations (strided shards) among them. What is only a partial sum has no
value of its own yet, and is refused.

What depends on mesh and placements alone is reckoned once for each of them, not for each tensor: a
model has a hundred thousand tensors, and few layouts.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, product
from typing import Any
from weakref import WeakKeyDictionary

import torch

from holdfast.errors import UnsupportedLeaf
from holdfast.format.boxes import Box
from holdfast.state.sharding import Held, Piece, rank_set, register_held

# Of the boxes of each shape; more of them than a model has are forgotten together.
_MOST_SHAPES = 4096


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
    placing = _placing(value.device_mesh, value.placements)
    if placing.is_partial or placing.here is None:
        what = (
            "is a partial sum" if placing.here is not None else "lies on a mesh without this rank"
        )
        raise UnsupportedLeaf(
            f"{path!r} is a DTensor that {what}. Nothing was saved. Redistribute it first, or "
            f"leave it out: skip={path!r}.",
            path=path,
            what=f"is a DTensor that {what}",
        )
    # A DTensor that is detached first is a new DTensor, ten times as dear as what is wanted of it.
    with torch.no_grad():
        here = value.to_local()
    here = here.detach() if here.requires_grad else here
    shape, local_shape = tuple(value.shape), tuple(here.shape)
    boxes = placing.boxes.get((shape, local_shape))
    if boxes is None:
        if len(placing.boxes) >= _MOST_SHAPES:
            placing.boxes.clear()
        boxes = placing.boxes[shape, local_shape] = _boxes(value, local_shape, path)
    pieces = _pieces(boxes, here, local_shape, placing.holders) if boxes else ()
    identity = None if here.numel() or 0 in shape else _identity_of_none(here)
    return Held(shape, pieces, here, placing.layout, placing.is_assumed, identity=identity)


def _identity_of_none(here: torch.Tensor) -> tuple[int, int]:
    """Return what is the same for tied tensors of which nothing lies here: no address tells."""
    return here.untyped_storage()._cdata, here.storage_offset()


_Boxes = list[tuple[Box, tuple[slice, ...]]]


@dataclass(frozen=True, slots=True)
class _Placing:
    """What is the same for all tensors of one mesh and placements.

    Attributes:
        here: Where this rank is in the mesh; None where it is not.
        is_partial: They are partial sums.
        holders: The ranks that hold what this one holds.
        layout: The same in words.
        is_assumed: Some of them hold it by another mesh, cut from the same one.
        boxes: What this rank holds of tensors, by their shape and that of the local one.
    """

    here: Sequence[int] | None
    is_partial: bool
    holders: Sequence[int]
    layout: str
    is_assumed: bool
    boxes: dict[tuple[tuple[int, ...], tuple[int, ...]], _Boxes] = field(default_factory=dict)


_placings: WeakKeyDictionary[Any, dict[tuple[Any, ...], _Placing]] = WeakKeyDictionary()


def _placing(mesh: Any, given: Sequence[Any]) -> _Placing:
    placements = given if type(given) is tuple else tuple(given)
    of_mesh = _placings.get(mesh)
    if of_mesh is None:
        of_mesh = _placings[mesh] = {}
    found = of_mesh.get(placements)
    if found is None:
        here = mesh.get_coordinate()
        is_partial = any(placement.is_partial() for placement in placements)
        whole = _whole_mesh(mesh) if here is not None else None
        on, spread = mesh, placements
        if whole is not None:
            on, spread = whole, _spread_over(whole, mesh, placements)
        layout = _in_words(on, spread)
        if whole is not None:
            layout = f"{','.join(mesh.mesh_dim_names)} of {layout}"
        holders = _holders(on, on.get_coordinate(), spread) if here is not None else ()
        found = _Placing(here, is_partial, holders, layout, whole is not None)
        of_mesh[placements] = found
    return found


def _whole_mesh(mesh: Any) -> Any | None:
    """Return the mesh of all ranks that one of fewer dims is cut from; None where there is none."""
    find = getattr(mesh, "_get_root_mesh", None)
    # A mesh can be thought of without its ranks: plans for thousands are.
    if find is None or not mesh.mesh_dim_names or not torch.distributed.is_initialized():
        return None
    world = torch.distributed.get_world_size()
    if mesh.mesh.numel() == world:
        return None
    root = find()
    known = root.mesh_dim_names or ()
    if root.mesh.numel() != world or not set(mesh.mesh_dim_names) <= set(known):
        return None
    here, dims = root.get_coordinate(), _dims_in(root, mesh)
    index = tuple(slice(None) if dim in dims else at for dim, at in enumerate(here))
    is_cut_from_it = dims == sorted(dims) and torch.equal(root.mesh[index], mesh.mesh)
    return root if is_cut_from_it else None


def _spread_over(whole: Any, mesh: Any, placements: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return placements on a mesh as those on the one that it is cut from.

    What a mesh of some dims says nothing of is the same along the others, as a tensor that is on
    no mesh at all is the same everywhere.
    """
    found = [sys.modules["torch.distributed.tensor"].Replicate()] * whole.mesh.ndim
    for dim, placement in zip(_dims_in(whole, mesh), placements, strict=True):
        found[dim] = placement
    return tuple(found)


def _dims_in(root: Any, mesh: Any) -> list[int]:
    return [root.mesh_dim_names.index(name) for name in mesh.mesh_dim_names]


def _holders(mesh: Any, here: Sequence[int], placements: tuple[Any, ...]) -> Sequence[int]:
    """Return the ranks that differ from this one along replicated dims of the mesh only."""
    index = tuple(
        slice(None) if placement.is_replicate() else here[dim]
        for dim, placement in enumerate(placements)
    )
    return rank_set(sorted(mesh.mesh[index].reshape(-1).tolist()))


def _in_words(mesh: Any, placements: tuple[Any, ...]) -> str:
    """Return a text that is the same on all ranks that agree on how such tensors lie."""
    shape = "x".join(str(mesh.size(dim)) for dim in range(len(placements)))
    said = ",".join(map(str, placements))
    ranks = mesh.mesh.reshape(-1)
    if bool((ranks == torch.arange(len(ranks))).all()):
        return f"{shape} {said}"
    # Which ranks they are is part of it, in whatever order.
    digest = hashlib.blake2b(ranks.numpy().tobytes(), digest_size=8).hexdigest()
    return f"{shape}@{digest} {said}"


def _boxes(value: Any, local_shape: tuple[int, ...], path: str) -> _Boxes:
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


def _pieces(
    boxes: _Boxes, here: torch.Tensor, local_shape: tuple[int, ...], holders: Sequence[int]
) -> list[Piece]:
    if len(boxes) == 1 and boxes[0][0].shape == local_shape:
        return [Piece(boxes[0][0], here, holders)]
    return [Piece(box, here[within], holders) for box, within in boxes]


register_held(is_dtensor, held, is_distributed)
