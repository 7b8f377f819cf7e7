"""PyTorch's ZeroRedundancyOptimizer: each rank has the moments of some parameters, none has all.

It is saved as the optimizer that it shards, whole, and restored by its own partition: at another
world size, or into a plain optimizer. What it offers itself gathers all moments on one rank first.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple
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


class _Expected(NamedTuple):
    """What an optimizer has of each parameter; the values are of a step that has none.

    Attributes:
        moments: The moments of each.
        are_there_at_once: They are made with the optimizer, not in the first step.
    """

    moments: list[dict[str, Any]]
    are_there_at_once: bool


_expected: WeakKeyDictionary[Any, _Expected] = WeakKeyDictionary()
_seen: WeakKeyDictionary[Any, set[int]] = WeakKeyDictionary()


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
    mine, stepped = _mine(zero), _stepped(zero)
    for index, param in enumerate(_params(zero)):
        if index in mine:
            if entry := zero.optim.state.get(param):
                states[index] = {name: _here(value, rank) for name, value in entry.items()}
        elif index in stepped and (entry := _expected_of(zero).moments[index]):
            states[index] = {name: _elsewhere(value) for name, value in entry.items()}
    packed = torch.optim.Optimizer.state_dict(zero)
    return {"state": states, "param_groups": packed["param_groups"]}


def put(zero: Any, state: dict[str, Any]) -> Any:
    """Load the state of this rank's own parameters."""
    zero.optim.state.clear()
    zero.load_state_dict(state)
    _watched(zero).clear()
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
    saved_indices = [state.key for state in states.children if isinstance(state.key, int)]

    def load() -> Any:
        made = {
            index: {name: thunk() for name, thunk in entry.items()}
            for index, entry in entries.items()
        }
        found = put(zero, {"state": made, "param_groups": make_groups()})
        _watched(zero).update(saved_indices)
        return found

    return load


def _live(zero: Any, params: list[torch.Tensor], index: int, name: Any) -> Any:
    return zero.optim.state.get(params[index], {}).get(name)


def _params(zero: Any) -> list[torch.Tensor]:
    return [param for group in zero.param_groups for param in group["params"]]


def _mine(zero: Any) -> set[int]:
    """Return the numbers of the parameters whose moments this rank has."""
    own = {id(param) for group in zero.optim.param_groups for param in group["params"]}
    return {index for index, param in enumerate(_params(zero)) if id(param) in own}


def _stepped(zero: Any) -> Collection[int]:
    """Return the numbers of the parameters that have moments, on whatever rank.

    An optimizer gives a parameter moments in the first step in which it has a gradient, and
    gradients are the same on all ranks. Steps are watched; of an optimizer that has done some
    before, it is supposed that all parameters have had their part in them that can have gradients.
    """
    params, seen, state = _params(zero), _watched(zero), zero.optim.state
    is_told = all(index in seen or not state.get(params[index]) for index in _mine(zero))
    if is_told and not _expected_of(zero).are_there_at_once:
        return seen
    return {index for index, param in enumerate(params) if param.requires_grad}


def _watched(zero: Any) -> set[int]:
    """Return the numbers of the parameters that have been seen to take part in a step."""
    seen = _seen.get(zero)
    if seen is None:
        seen = _seen[zero] = set()

        def note(optimizer: Any, *_: object) -> None:
            params = enumerate(_params(optimizer))
            _watched(optimizer).update(i for i, param in params if param.grad is not None)

        zero.register_step_post_hook(note)
    return seen


def _here(value: Any, rank: int) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    shape = tuple(value.shape)
    return Held(shape, (Piece(whole(shape), value.detach(), (rank,)),), value)


def _elsewhere(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return Held(tuple(value.shape), (), torch.empty(0, dtype=value.dtype))


def _expected_of(zero: Any) -> _Expected:
    params = _params(zero)
    known = _expected.get(zero)
    if known is None or len(known.moments) != len(params):
        known = _expected[zero] = _after_a_step(zero, params)
    return known


def _after_a_step(zero: Any, params: Iterable[torch.Tensor]) -> _Expected:
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
        are_there_at_once = bool(optimizer.state)
        optimizer.step()
    except Exception as error:
        what = f"is sharded, and what other ranks have of it cannot be told: {error}"
        raise UnsupportedLeaf(
            f"A {type(zero.optim).__name__} {what}. Put what state_dict() gives after "
            "consolidate_state_dict() into the state instead",
            what=what,
        ) from error
    moments = [optimizer.state.get(shadow, {}) for shadow in shadows.values()]
    return _Expected(moments, are_there_at_once)


def _require_plain(zero: Any) -> None:
    """Refuse what is partitioned in another way than over all ranks, parameter by parameter."""
    if not isinstance(getattr(zero, "optim", None), torch.optim.Optimizer):
        what = "overlaps with DDP: its own optimizer is made in the first steps"
    elif zero.world_size != torch.distributed.get_world_size():
        what = f"is sharded over {zero.world_size} ranks, which are not all that there are"
    else:
        return
    raise UnsupportedLeaf(f"A ZeroRedundancyOptimizer {what}", what=what)
