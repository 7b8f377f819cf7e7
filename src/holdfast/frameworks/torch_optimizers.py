"""PyTorch optimizers, restored into the moments that they hold already."""

from __future__ import annotations

from typing import Any

import torch

from holdfast.state.bind import Binder
from holdfast.state.nodes import Node, plain_value
from holdfast.state.overlay import is_partial, overlay
from holdfast.state.paths import join
from holdfast.state.reads import Thunk
from holdfast.state.sharding import held_of

# Optimizers of torch.optim all of whose state has the shape of the parameter, or is a scalar.
_ELEMENTWISE = frozenset(
    {"SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop", "Rprop"}
)


def why_not(value: object) -> str:
    """Say why an optimizer's own state must not be taken: FSDP1 has flattened what it optimizes.

    Each rank's moments are of another stretch of the same numbers, and look like copies.
    """
    if not isinstance(value, torch.optim.Optimizer):
        return ""
    params = (param for group in value.param_groups for param in group["params"])
    if not any(hasattr(p, "_is_flat_param") or hasattr(p, "_fsdp_flattened") for p in params):
        return ""
    return (
        "is the optimizer of a model that FullyShardedDataParallel has flattened, whose moments "
        "have no places of their own. Put what get_state_dict(model, optimizer) of "
        "torch.distributed.checkpoint.state_dict gives into the state, as the guide to many GPUs "
        "shows"
    )


def bind_optimizer(
    binder: Binder, node: Node, optimizer: torch.optim.Optimizer, path: str
) -> Thunk:
    """Bind the saved ``state_dict`` of an optimizer to one that stands.

    PyTorch's ``load_state_dict`` casts floating-point state to the dtype of its parameter, which
    would change the moments of an optimizer that keeps them in another; they are put back as
    they were saved, unless values shall be converted.
    """
    saved = {child.key: child for child in node.children}
    groups, states = saved.get("param_groups"), saved.get("state")
    if groups is None or states is None or is_partial(node):
        return _bind_part(binder, node, optimizer)
    params = [p for group in optimizer.param_groups for p in group["params"]]
    check_moments(binder, states, params, type(optimizer))
    check_groups(binder, groups, optimizer, path)
    plain = type(optimizer).state_dict is torch.optim.Optimizer.state_dict
    live = optimizer.state_dict()["state"] if plain else {}
    entries = {
        state.key: {
            child.key: bind_state(
                binder, child, live.get(state.key, {}).get(child.key), _param(params, state.key)
            )
            for child in state.children
        }
        for state in states.children
    }
    rest = {key: binder.fresh(child) for key, child in saved.items() if key != "state"}

    def load() -> torch.optim.Optimizer:
        made = {
            index: {key: thunk() for key, thunk in entry.items()}
            for index, entry in entries.items()
        }
        optimizer.load_state_dict({**{key: thunk() for key, thunk in rest.items()}, "state": made})
        if not binder.convert:
            _uncast(optimizer, made)
        return optimizer

    return load


def _bind_part(binder: Binder, node: Node, optimizer: torch.optim.Optimizer) -> Thunk:
    # An optimizer takes its state whole: what was left out stays as it is.
    make = overlay(node, optimizer.state_dict(), binder.fresh)

    def load() -> torch.optim.Optimizer:
        optimizer.load_state_dict(make())
        return optimizer

    return load


def _param(params: list[torch.Tensor], key: object) -> torch.Tensor | None:
    return params[key] if isinstance(key, int) and key < len(params) else None


def bind_state(binder: Binder, child: Node, value: object, param: torch.Tensor | None) -> Thunk:
    """Bind one saved moment of a parameter to what the optimizer has, which may be None."""
    if value is None and child.row >= 0 and param is not None and held_of(param) is not None:
        # Before the first step there are no moments: those to come lie as their parameter does.
        row = binder.spec(child.row)
        if row.shape == tuple(param.shape):
            dtype = getattr(torch, row.dtype, param.dtype)
            value = torch.empty_like(param.detach(), dtype=dtype)
    if child.row >= 0 and isinstance(value, torch.Tensor):
        row = binder.spec(child.row)
        same_dtype = str(value.dtype).removeprefix("torch.") == row.dtype
        if row.shape == tuple(value.shape) and same_dtype:
            return binder.into(child, value, child.path)
        if row.shape != tuple(value.shape):
            what = f"saved with the shape {list(row.shape)}, the optimizer has {list(value.shape)}"
            binder.problem(child.path, what)
    return binder.fresh(child)


def check_moments(binder: Binder, states: Node, params: list[torch.Tensor], kind: type) -> None:
    """Note the moments of PyTorch's own optimizers that belong to parameters of another shape."""
    if kind.__name__ not in _ELEMENTWISE or not kind.__module__.startswith("torch.optim"):
        return
    for state in states.children:
        if not isinstance(state.key, int) or state.key >= len(params):
            continue
        wanted = tuple(params[state.key].shape)
        for child in state.children:
            shape = binder.rows[child.row].shape if child.row >= 0 else ()
            if shape not in ((), (1,), wanted):
                what = f"saved with the shape {list(shape)}, its parameter has {list(wanted)}"
                binder.problem(child.path, what)


def check_groups(binder: Binder, groups: Node, optimizer: torch.optim.Optimizer, path: str) -> None:
    """Note groups of other numbers of parameters."""
    sizes = []
    for group in groups.children:
        params = next((c for c in group.children if c.key == "params"), None)
        sizes.append(len(params.children) if params is not None else 0)
    wanted = [len(group["params"]) for group in optimizer.param_groups]
    if sizes != wanted:
        what = f"saved for groups of {sizes} parameters, wanted {wanted}"
        binder.problem(join(path, "param_groups"), what)
    elif not _reorders(optimizer):
        _check_names(binder, groups, optimizer, path)


def _check_names(binder: Binder, groups: Node, optimizer: torch.optim.Optimizer, path: str) -> None:
    """Note where the parameters have names, and one of the same name was saved at another place.

    Moments belong to parameters by number: they would go to others. Of a parameter that nothing
    was saved of by that name, it is not known: it may have another name now.
    """
    listed = [c for group in groups.children for c in group.children if c.key == "param_names"]
    saved = [plain_value(name) for names in listed for name in names.children]
    wanted = [name for group in optimizer.param_groups for name in group.get("param_names", ())]
    places = {name: index for index, name in enumerate(saved)}
    for index, name in enumerate(wanted):
        if places.get(name, index) != index:
            what = (
                f"{name!r} is parameter {index} here, and was {places[name]} when it was saved; "
                "its moments would go to another. Give its parameters in the same order"
            )
            binder.problem(join(path, "param_groups"), what)
            return


def _reorders(optimizer: torch.optim.Optimizer) -> bool:
    """Say whether what loads a state may go by names, as hooks can that PyTorch has for that."""
    own = type(optimizer).load_state_dict is not torch.optim.Optimizer.load_state_dict
    return own or bool(optimizer._optimizer_load_state_dict_pre_hooks)


def _uncast(optimizer: torch.optim.Optimizer, saved: dict[Any, dict[Any, Any]]) -> None:
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for index, entry in saved.items():
        if not isinstance(index, int) or index >= len(params):
            continue
        held = optimizer.state.get(params[index], {})
        for key, value in entry.items():
            now = held.get(key)
            both = isinstance(value, torch.Tensor) and isinstance(now, torch.Tensor)
            if both and now.dtype != value.dtype:
                held[key] = value.to(now.device)
