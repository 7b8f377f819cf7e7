"""Parts of a training as PyTorch's distributed checkpoints want them: objects with a state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from holdfast import frameworks
from holdfast.errors import UsageError
from holdfast.state import rng


@final
class ModelParts:
    """The parts of a model, one for each stage of a pipeline, as one state by parameters' names.

    Raises:
        UsageError: It is one module instead, or two parts have a parameter of the same name.
    """

    def __init__(self, parts: Sequence[torch.nn.Module]) -> None:
        if isinstance(parts, torch.nn.Module):
            raise UsageError("model_parts= takes a list of modules: [model] for one.")
        self._parts = list(parts)
        _check_distinct(self._parts)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all parts."""
        return {k: v for part in self._parts for k, v in get_model_state_dict(part).items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give each part what is its own."""
        options = StateDictOptions(strict=False)
        for part in self._parts:
            set_model_state_dict(part, model_state_dict=state, options=options)


def _check_distinct(parts: Sequence[torch.nn.Module]) -> None:
    seen: dict[str, torch.nn.Parameter] = {}
    for part in parts:
        for name, parameter in part.named_parameters():
            if seen.setdefault(name, parameter) is not parameter:
                raise UsageError(
                    f"Two model parts have a parameter {name!r}, of which only one would be "
                    "saved. Parts are to name their parameters as the whole model does."
                )


@final
class Optimizers:
    """An optimizer for each part of a model, as one state by parameters' names."""

    def __init__(
        self, parts: Sequence[torch.nn.Module], optimizers: Sequence[torch.optim.Optimizer]
    ) -> None:
        if len(parts) != len(optimizers):
            raise UsageError(
                f"There are {len(parts)} model parts and {len(optimizers)} optimizers; each part "
                "has one."
            )
        self._pairs = list(zip(parts, optimizers, strict=True))
        # By names, not numbers: so it fits any number of ranks and parts.
        self._options = StateDictOptions(flatten_optimizer_state_dict=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all optimizers."""
        return {
            k: v
            for part, optimizer in self._pairs
            for k, v in get_optimizer_state_dict(part, optimizer, options=self._options).items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give each optimizer what is its own."""
        for part, optimizer in self._pairs:
            set_optimizer_state_dict(part, optimizer, optim_state_dict=state, options=self._options)


def optimizer_state(parts: Sequence[torch.nn.Module], optimizers: Any) -> Any:
    """Return an object with the state of all optimizers.

    Args:
        parts: The model's.
        optimizers: One for each part; or an object with a state that has them all.

    Raises:
        UsageError: There are more or fewer than parts.
    """
    if getattr(type(optimizers), "state_dict", None) is torch.optim.Optimizer.state_dict:
        # PyTorch's own names parameters by number, and has nothing to load into before a step.
        return Optimizers(parts, [optimizers])
    return optimizers if hasattr(optimizers, "state_dict") else Optimizers(parts, optimizers)


@final
class Generators:
    """The random generators of one rank. They come back only to the same rank.

    Args:
        rank: Of this process.
    """

    def __init__(self, rank: int = 0) -> None:
        self._key = f"rank-{rank}"

    def state_dict(self) -> dict[str, Any]:
        """Return the generators of every library in play."""
        frameworks.activate()
        # A list: a tree in it is one value to DCP.
        return {self._key: [rng.capture()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set them."""
        rng.apply(state[self._key][0])
