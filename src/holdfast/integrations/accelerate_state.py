"""All that an Accelerator has prepared, as a state that holdfast saves and restores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer

from holdfast.errors import UsageError
from holdfast.history.info import CheckpointInfo
from holdfast.integrations.accelerate_loader import LoaderPosition
from holdfast.oneshot import load, save
from holdfast.records.opening import Location
from holdfast.repository import Store
from holdfast.restored import Restored


class _Progress:
    """How far gradients are accumulated."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator

    def state_dict(self) -> dict[str, int]:
        return {"step": int(self._accelerator.step)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self._accelerator.step = state["step"]


def state_of(accelerator: Accelerator) -> dict[str, Any]:
    """Return what an accelerator has prepared and registered, for a ``Checkpointer``.

    ::

        model, optimizer, scheduler, loader = accelerator.prepare(...)
        with Checkpointer("ckpts", state_of(accelerator), run="r", save=every(steps=100)) as ckpt:
            ckpt.restore()

    Names are ``model``, ``optimizer``, ``scheduler``, ``loader`` and ``custom`` where there is one
    of a kind, ``model_0``, ``model_1``, … where there are more. It is what
    ``accelerator.save_state`` saves, and the epochs of the data loaders besides.

    Args:
        accelerator: One process on one device; everything is prepared already.

    Raises:
        UsageError: It has several processes, or nothing was prepared.
    """
    if accelerator.num_processes > 1:
        raise UsageError(
            f"state_of() is for an accelerator of one process; this one has "
            f"{accelerator.num_processes}. Nothing was saved. For several use holdfast.dcp."
        )
    optimizers = [
        o.optimizer if isinstance(o, AcceleratedOptimizer) else o for o in accelerator._optimizers
    ]
    state = {
        **_named("model", [accelerator.unwrap_model(model) for model in accelerator._models]),
        **_named("optimizer", optimizers),
        **_named("scheduler", list(accelerator._schedulers)),
        **_named("loader", [LoaderPosition(loader) for loader in accelerator._dataloaders]),
        **_named("custom", list(accelerator._custom_objects)),
    }
    if not state:
        raise UsageError("The accelerator has prepared nothing yet: call accelerator.prepare().")
    if accelerator.scaler is not None:
        state["scaler"] = accelerator.scaler
    return {**state, "accelerator": _Progress(accelerator)}


def save_state(
    accelerator: Accelerator, location: Location | Store, *, run: str, step: int, **options: Any
) -> CheckpointInfo:
    """Save what ``accelerator.save_state`` would, as one checkpoint; durable when it returns.

    Args:
        accelerator: One process on one device.
        location: Folder of the store, or a ``Store``.
        run: Name of the run.
        step: Name of the checkpoint.
        **options: As of ``holdfast.save``: ``metrics``, ``tag``, …
    """
    return save(location, state_of(accelerator), run=run, step=step, **options)


def load_state(
    accelerator: Accelerator, location: Location | Store, ref: str, **options: Any
) -> Restored:
    """Load what ``save_state`` or a ``Checkpointer`` on ``state_of`` has saved, in place.

    Args:
        accelerator: With the same things prepared and registered, in the same order.
        location: Folder of the store, or a ``Store``.
        ref: The checkpoint, as ``RUN@latest``.
        **options: As of ``holdfast.load``: ``only``, ``skip``, ``strict``.
    """
    restored: Restored = load(location, ref, into=state_of(accelerator), rng=True, **options)
    return restored


def _named(name: str, found: Sequence[Any]) -> dict[str, Any]:
    if len(found) == 1:
        return {name: found[0]}
    return {f"{name}_{i}": value for i, value in enumerate(found)}
