"""PyTorch's ZeroRedundancyOptimizer: each rank has the moments of some parameters, none has all.

It is saved as the optimizer that it shards, whole, and restored by its own partition: at another
world size, or into a plain optimizer. What it offers itself gathers all moments on one rank first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import torch

from holdfast.errors import UnsupportedLeaf
from holdfast.format.boxes import whole
from holdfast.frameworks import torch_optimizers
from holdfast.state.bind import Binder
from holdfast.state.nodes import Node
from holdfast.state.overlay import is_partial
from holdfast.state.reads import Thunk
from holdfast.state.sharding import Held, Piece

# Ways of computing that have the same moments, and that not every device can.
_WAYS = ("foreach", "fused", "capturable")
_expected: WeakKeyDictionary[Any, dict[int, dict[str, Any]]] = WeakKeyDictionary()


def is_zero(value: object) -> bool:
    """Say whether a value is such an optimizer; where nobody has imported them there are none."""
    module = sys.modules.get("torch.distributed.optim")
    cls = getattr(module, "ZeroRedundancyOptimizer", None)
    return cls is not None and isinstance(value, cls)


def inner(zero: Any) -> torch.optim.Optimizer:
    """Return the optimizer of the parameters that are this rank's own."""
    found: torch.optim.Optimizer = zero.optim
    return found


def stands_for(zero: Any) -> type:
    """Return the class of the optimizer that is sharded."""
    return type(zero.optim)


def take(zero: Any) -> dict[str, Any]:
    """Return the state of all parameters, as the optimizer that is sharded would give it.

    Raises:
        UnsupportedLeaf: What other ranks have cannot be known.
    """
    _require_plain(zero)
    rank = torch.distributed.get_rank()
    states: dict[int, dict[str, Any]] = {}
    if zero.optim.state:
        mine = _mine(zero)
        for index, param in enumerate(_params(zero)):
            if index not in mine and param.requires_grad:
                entry = _moments_of(zero)[index]
                states[index] = {name: _elsewhere(value) for name, value in entry.items()}
            elif entry := zero.optim.state.get(param):
                states[index] = {name: _here(value, rank) for name, value in entry.items()}
    packed = torch.optim.Optimizer.state_dict(zero)
    return {"state": states, "param_groups": packed["param_groups"]}


def put(zero: Any, state: dict[str, Any]) -> Any:
    """Load the state of this rank's own parameters."""
    zero.optim.state.clear()
    zero.load_state_dict(state)
    return zero


def bind(binder: Binder, node: Node, zero: Any, path: str) -> Thunk:
    """Bind the saved state of an optimizer to the parameters that this rank has the moments of."""
    saved = {child.key: child for child in node.children}
    groups, states = saved.get("param_groups"), saved.get("state")
    if groups is None or states is None or is_partial(node):
        return binder.problem(path, "a ZeroRedundancyOptimizer is restored whole or not at all")
    _require_plain(zero)
    params, mine = _params(zero), _mine(zero)
    torch_optimizers.check_moments(binder, states, params, type(zero.optim))
    torch_optimizers.check_groups(binder, groups, zero, path)
    entries = {
        state.key: {
            child.key: torch_optimizers.bind_state(
                binder, child, _live(zero, params, state.key, child.key), params[state.key]
            )
            for child in state.children
        }
        for state in states.children
        if isinstance(state.key, int) and state.key in mine
    }
    make_groups = binder.fresh(groups)

    def load() -> Any:
        made = {
            index: {name: thunk() for name, thunk in entry.items()}
            for index, entry in entries.items()
        }
        return put(zero, {"state": made, "param_groups": make_groups()})

    return load


def _live(zero: Any, params: list[torch.Tensor], index: int, name: Any) -> Any:
    return zero.optim.state.get(params[index], {}).get(name)


def _params(zero: Any) -> list[torch.Tensor]:
    return [param for group in zero.param_groups for param in group["params"]]


def _mine(zero: Any) -> set[int]:
    """Return the numbers of the parameters whose moments this rank has."""
    own = {id(param) for group in zero.optim.param_groups for param in group["params"]}
    return {index for index, param in enumerate(_params(zero)) if id(param) in own}


def _here(value: Any, rank: int) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    shape = tuple(value.shape)
    return Held(shape, (Piece(whole(shape), value.detach(), (rank,)),), value)


def _elsewhere(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return Held(tuple(value.shape), (), torch.empty(0, dtype=value.dtype))


def _moments_of(zero: Any) -> dict[int, dict[str, Any]]:
    """Return what the moments of every parameter look like: those of a step that has no values."""
    params = _params(zero)
    known = _expected.get(zero)
    if known is None or len(known) != len(params):
        known = _expected[zero] = dict(enumerate(_after_a_step(zero, params)))
    return known


def _after_a_step(zero: Any, params: Iterable[torch.Tensor]) -> Iterable[dict[str, Any]]:
    shadows: dict[int, torch.Tensor] = {}
    for index, param in enumerate(params):
        shadows[index] = torch.empty_like(param, device="meta").requires_grad_()
        shadows[index].grad = torch.empty_like(param, device="meta")
    left = iter(shadows.values())
    groups = [
        {name: False if name in _WAYS else value for name, value in group.items()}
        | {"params": [next(left) for _ in group["params"]]}
        for group in zero.param_groups
    ]
    try:
        optimizer = type(zero.optim)(groups, **zero.defaults)
        optimizer.step()
    except Exception as error:
        what = f"is sharded, and what other ranks have of it cannot be told: {error}"
        raise UnsupportedLeaf(
            f"A {type(zero.optim).__name__} {what}. Put what state_dict() gives after "
            "consolidate_state_dict() into the state instead",
            what=what,
        ) from error
    return [optimizer.state.get(shadow, {}) for shadow in shadows.values()]


def _require_plain(zero: Any) -> None:
    """Refuse what is partitioned in another way than over all ranks, parameter by parameter."""
    if not isinstance(getattr(zero, "optim", None), torch.optim.Optimizer):
        what = "overlaps with DDP: its own optimizer is made in the first steps"
    elif zero.world_size != torch.distributed.get_world_size():
        what = f"is sharded over {zero.world_size} ranks, which are not all that there are"
    else:
        return
    raise UnsupportedLeaf(f"A ZeroRedundancyOptimizer {what}", what=what)
