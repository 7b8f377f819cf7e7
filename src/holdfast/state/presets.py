"""What to save, by what it is for: ``holdfast.only.weights`` and the like, for ``only=``.

They look at the state: models and optimizers are found by what they are, whatever they are called.
Arrays and dicts of arrays count as models, unless their names say that they are something else
(``optimizer``, ``opt_state``, ``loader`` and so on).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from holdfast.errors import UsageError
from holdfast.state.objects import found_in
from holdfast.state.paths import escape, join
from holdfast.state.selection import Chosen, Entry, Role, Selection

__all__ = ["lora", "no_optimizer", "trainable", "weights"]


@dataclass(frozen=True)
class _ByRole(Selection):
    """All entries of some roles, or the leaves in them that a pattern names."""

    name: str
    wants: Callable[[Entry], bool]
    leaves: tuple[str, ...] = ("",)

    def chosen(self, entries: Sequence[Entry]) -> Chosen:
        """Return patterns of what the entries wanted have."""
        names = [escape(entry.name) for entry in entries if self.wants(entry)]
        # A state without any such entry is told of where nothing is left to save.
        return Chosen(tuple(f"{name}/**{leaf}" for name in names for leaf in self.leaves))

    def __repr__(self) -> str:
        return f"only.{self.name}"


@final
@dataclass(frozen=True)
class _Lora(_ByRole):
    """Low-rank adapters, and which checkpoint has the model that they adapt."""

    base: str | None = None

    def __call__(self, *, base: str) -> _Lora:
        """Return the same with a base: a ref of the same store, whose values are the state's."""
        if not isinstance(base, str) or base.count("@") != 1:
            raise UsageError(f"base= takes the ref of a checkpoint, as 'base@0', not {base!r}.")
        return replace(self, base=base)

    def __repr__(self) -> str:
        return "only.lora" if self.base is None else f"only.lora(base={self.base!r})"


@final
@dataclass(frozen=True)
class _Trainable(Selection):
    """Everything but parameters that do not require gradients, of some models or of all."""

    models: tuple[Any, ...] = ()

    def __call__(self, *models: Any) -> _Trainable:
        """Return the same for these models only."""
        for model in models:
            if not _has_parameters(model):
                raise UsageError(f"{type(model).__name__} has no parameters to look at.")
        return _Trainable(models)

    def chosen(self, entries: Sequence[Entry]) -> Chosen:
        """Return patterns of the parameters that are frozen now, to be left out.

        Raises:
            UsageError: There is no model whose parameters say whether they are trained.
        """
        found = list(found_in({entry.name: entry.value for entry in entries}, _has_parameters))
        if not found:
            raise UsageError(
                "only.trainable needs a model whose parameters say whether they are trained, and "
                "the state has none. Name what is trained with patterns instead."
            )
        wanted = {id(p) for model in self.models for p in model.parameters()}
        frozen = [
            join(path, name)
            for path, module in found
            for name, parameter in module.named_parameters(remove_duplicate=False)
            if not parameter.requires_grad and (not self.models or id(parameter) in wanted)
        ]
        return Chosen(None, tuple(frozen))

    def __repr__(self) -> str:
        return "only.trainable"


def _has_parameters(value: Any) -> bool:
    return hasattr(value, "named_parameters")


weights: Selection = _ByRole("weights", lambda entry: entry.role is Role.MODEL)
"""The models, and nothing else."""

no_optimizer: Selection = _ByRole("no_optimizer", lambda entry: entry.role is not Role.OPTIMIZER)
"""Everything but the optimizers."""

lora = _Lora("lora", lambda entry: entry.role is Role.MODEL, ("lora_**", "modules_to_save**"))
"""Of the models the low-rank adapters and what is trained beside them, as PEFT names them.

``lora(base="base@0")`` names the checkpoint that has the rest: a load gives both as one.
"""

trainable = _Trainable()
"""Everything but frozen parameters; ``trainable(model)`` looks at those of one model only."""
