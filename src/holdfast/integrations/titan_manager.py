"""A manager of checkpoints with the methods that torchtitan's trainers call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, final

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

from holdfast.errors import NotFound, UsageError
from holdfast.format.names import check_run
from holdfast.integrations.arguments import check_names
from holdfast.integrations.dcp_reader import HoldfastReader
from holdfast.integrations.dcp_writer import HoldfastWriter
from holdfast.integrations.titan_states import ModelParts, optimizer_state
from holdfast.policy.keep import keep
from holdfast.records.opening import Location
from holdfast.repository import Store


@final
class CheckpointManager:
    """Saves every so many steps, keeps the newest, and loads by step.

    Every rank makes one and calls the same methods. Saves go on beside training: the loop is held
    while DCP copies the state; ``save`` first waits for the one before.

    Args:
        location: Folder of the store, or a ``Store``.
        run: Name of the run.
        model_parts: The model, or its stages.
        optimizers: One for each part; or an object with a state that has them all.
        lr_schedulers: An object with a state, or None.
        dataloader: Likewise.
        states: Other objects with a state, by name; ``train_state`` by custom, ``Generators``.
        interval: Steps from save to save.
        keep_latest_k: Checkpoints that stay; 0: all.
        async_save: Save beside training; else ``save`` returns when it is durable.
        exclude_from_loading: Names that ``load`` leaves as they are.

    Raises:
        UsageError: An argument is not possible.
    """

    def __init__(
        self,
        location: Location | Store,
        *,
        run: str,
        model_parts: Sequence[torch.nn.Module],
        optimizers: Sequence[torch.optim.Optimizer] | Any,
        lr_schedulers: Any = None,
        dataloader: Any = None,
        states: Mapping[str, Any] | None = None,
        interval: int = 500,
        keep_latest_k: int = 10,
        async_save: bool = True,
        exclude_from_loading: Sequence[str] = (),
    ) -> None:
        if interval < 1 or keep_latest_k < 0:
            raise UsageError("interval= is 1 or more, keep_latest_k= is 0 or more.")
        self._location = location
        self._run = check_run(run)
        self._interval = interval
        self._async = async_save
        own = {
            "model": ModelParts(model_parts),
            "optimizer": optimizer_state(model_parts, optimizers),
            "lr_scheduler": lr_schedulers,
            "dataloader": dataloader,
        }
        own = {name: value for name, value in own.items() if value is not None}
        check_names(own, states, "states")
        self.states = own | dict(states or {})
        unknown = set(exclude_from_loading) - self.states.keys()
        if unknown:
            raise UsageError(f"exclude_from_loading= names what is no state: {sorted(unknown)}.")
        self._excluded = frozenset(exclude_from_loading)
        self._writer = HoldfastWriter(
            location, run=run, keep=keep.last(keep_latest_k) if keep_latest_k else None
        )
        self._pending: Future[Any] | None = None
        # A group of its own: collectives of saves do not come in the way of training's.
        self._group = dist.new_group(backend="gloo") if async_save and _has_ranks() else None

    def save(self, curr_step: int, last_step: bool = False) -> bool:
        """Save if it is time, or the last step; say whether.

        Raises:
            CheckpointException: This save or the one before went wrong.
        """
        self._wait()
        if curr_step % self._interval and not last_step:
            return False
        given = {"checkpoint_id": f"step-{curr_step}", "storage_writer": self._writer}
        if self._async and not last_step:
            self._pending = dcp.async_save(self.states, process_group=self._group, **given)
        else:
            dcp.save(self.states, **given)
        return True

    def load(self, step: int = -1) -> bool:
        """Load a step, the newest good one if it is -1; False where the run has none.

        Raises:
            CheckpointException: It is not there, is damaged or does not fit.
        """
        self._wait()
        if step == -1 and not self._has_any():
            return False
        reader = HoldfastReader(self._location, run=self._run, step=None if step == -1 else step)
        wanted = {k: v for k, v in self.states.items() if k not in self._excluded}
        dcp.load(wanted, storage_reader=reader)
        return True

    def maybe_wait_for_staging(self) -> None:
        """Return at once: the state was copied when ``save`` returned."""

    def close(self) -> None:
        """Wait for the save under way."""
        self._wait()

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _has_any(self) -> bool:
        try:
            found = Store(self._location).history(self._run)
        except NotFound:
            return False
        return bool(found.checkpoints or found.damaged)


def _has_ranks() -> bool:
    return bool(dist.is_available() and dist.is_initialized())
