"""Expanded tensors of modules: many elements, each of them in memory once for several places.

``load_state_dict`` refuses to fill them. Their memory takes what was saved where that says the same
of all places that an element has.
"""

from __future__ import annotations

import torch

from holdfast.errors import Mismatch
from holdfast.state.bind import Binder
from holdfast.state.nodes import Node
from holdfast.state.overlap import shares_elements
from holdfast.state.reads import Thunk


def into_expanded(binder: Binder, node: Node, target: torch.Tensor, path: str) -> Thunk:
    """Bind a saved array to a tensor whose elements share memory."""
    saved, wanted = binder.spec(node.row), str(target.dtype).removeprefix("torch.")
    core = _once(target, target)
    if (saved.dtype, saved.shape) != (wanted, tuple(target.shape)):
        return binder.problem(path, f"saved as {saved}, wanted {wanted}{list(target.shape)}")
    if shares_elements(core.shape, core.stride()):
        return binder.problem(path, "its elements share memory, so that it cannot be filled")
    make = binder.fresh(node)

    def put() -> torch.Tensor:
        value = make()
        once = _once(value, target)
        if not _same_bytes(value, once.expand_as(value)):
            raise Mismatch(
                f"{path!r} stands there as one value for many places (an expanded tensor), but was "
                "saved with several. Clone it, which makes it a tensor of its own",
                path=path,
            )
        with torch.no_grad():
            core.detach().copy_(once)
        return target

    return put


def _once(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return of a tensor the places that another one has in memory, each of them once."""
    for dim, step in enumerate(like.stride()):
        if step == 0 and like.shape[dim] > 1:
            value = value.narrow(dim, 0, 1)
    return value


def _same_bytes(one: torch.Tensor, other: torch.Tensor) -> bool:
    # A NaN is equal to itself here.
    one, other = (tensor.contiguous().view(-1).view(torch.uint8) for tensor in (one, other))
    return bool(torch.equal(one, other))
