"""Optimizers as guards: parameters and moments change in their step, which can be waited before."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch


def arrays_of(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    """Yield the tensors that an optimizer's step changes."""
    for group in optimizer.param_groups:
        yield from group["params"]
    for entry in optimizer.state.values():
        yield from (t for t in entry.values() if isinstance(t, torch.Tensor))


def before_update(optimizer: torch.optim.Optimizer, call: Callable[[], None]) -> Callable[[], None]:
    """Have a function called before each step, and before another state is loaded."""
    hooks = [
        optimizer.register_step_pre_hook(lambda *_: call()),
        optimizer.register_load_state_dict_pre_hook(lambda *_: call()),
    ]

    def undo() -> None:
        for hook in hooks:
            hook.remove()

    return undo
