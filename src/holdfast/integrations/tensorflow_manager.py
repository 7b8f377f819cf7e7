"""``CheckpointManager`` with the names that users of ``tf.train.CheckpointManager`` know."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from holdfast.errors import UsageError
from holdfast.integrations.arguments import check_names
from holdfast.integrations.run_manager import RunManager
from holdfast.policy.keep import keep
from holdfast.repository import Store
from holdfast.restored import Restored


class CheckpointManager(RunManager):
    """Saves, restores and tidies up what a ``tf.train.Checkpoint`` tracks.

    It takes the place of ``tf.train.CheckpointManager`` in a script. ``save`` returns once the
    values are copied; another process writes them. Checkpoints are named by refs, ``RUN@NUMBER``,
    not by paths: instead of ``checkpoint.restore(manager.latest_checkpoint)``, write
    ``manager.restore()``.

    Args:
        checkpoint: A ``tf.train.Checkpoint``.
        directory: Folder of the store, the URL of a bucket, or a ``Store``.
        max_to_keep: How many of the newest checkpoints stay; None: all.
        keep_checkpoint_every_n_hours: One of so many hours stays besides.
        checkpoint_name: Name of the run.
        step_counter: A variable that counts steps, for ``checkpoint_interval``.
        checkpoint_interval: ``save`` does nothing until so many steps after the last one.
        init_fn: Called by ``restore_or_initialize`` where there is no checkpoint.
        state: More to save than TensorFlow tracks, by name.
        options: More arguments of the ``Checkpointer``.

    Attributes:
        last_save: Handle of the last save: ``.wait()`` returns once it is durable.
    """

    def __init__(
        self,
        checkpoint: Any,
        directory: str | os.PathLike[str] | Store,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float | None = None,
        checkpoint_name: str = "ckpt",
        step_counter: Any = None,
        checkpoint_interval: int | None = None,
        init_fn: Callable[[], object] | None = None,
        *,
        state: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(checkpoint, tf.train.Checkpoint):
            raise UsageError(
                "CheckpointManager takes a tf.train.Checkpoint, not a "
                f"{type(checkpoint).__name__}: tf.train.Checkpoint(model=model)."
            )
        if checkpoint_interval is not None and step_counter is None:
            raise UsageError("checkpoint_interval= needs step_counter=.")
        if max_to_keep is not None and max_to_keep < 1:
            raise UsageError(f"max_to_keep={max_to_keep}: the newest checkpoint always stays.")
        policy = keep.last(max_to_keep) if max_to_keep is not None else None
        if policy is not None and keep_checkpoint_every_n_hours is not None:
            policy = policy | keep.every(hours=keep_checkpoint_every_n_hours)
        check_names(["checkpoint"], state, "state")
        self._checkpoint = checkpoint
        self._directory = directory.path if isinstance(directory, Store) else str(directory)
        self._step_counter, self._interval = step_counter, checkpoint_interval
        self._init_fn = init_fn
        self._last_step: int | None = None
        # TensorFlow makes its counter of saves when it saves first; restored it must be before.
        _ = checkpoint.save_counter
        what = {"checkpoint": checkpoint, **(state or {})}
        super().__init__(directory, checkpoint_name, what, {"keep": policy, **options})
        # The state is all here: memory for it is made ready before training begins.
        self._checkpointer()

    # --- what there is ---

    @property
    def checkpoint(self) -> Any:
        """The ``tf.train.Checkpoint``."""
        return self._checkpoint

    @property
    def directory(self) -> str:
        """Where the store is."""
        return self._directory

    @property
    def checkpoint_interval(self) -> int | None:
        """Steps between two saves."""
        return self._interval

    @property
    def latest_checkpoint(self) -> str | None:
        """Ref of the newest checkpoint; one whose save is under way is waited for."""
        found = self.checkpoints
        return found[-1] if found else None

    @property
    def checkpoints(self) -> list[str]:
        """Refs of all checkpoints, oldest first; saves under way are waited for."""
        return [info.ref for info in self._kept()]

    # --- saving and restoring ---

    def save(
        self,
        checkpoint_number: Any = None,
        check_interval: bool = True,
        options: Any = None,
        *,
        metrics: Mapping[str, Any] | None = None,
        tag: str | None = None,
    ) -> str | None:
        """Save; returns once the values are copied.

        Args:
            checkpoint_number: Its name, an int or a variable. None: the number of saves.
            check_interval: Save only if ``checkpoint_interval`` steps have gone by.
            options: Not looked at: ``tf.train.CheckpointOptions`` are for TensorFlow's files.
            metrics: Numbers that go with it.
            tag: A name to give it; it stays until it is removed by hand.

        Returns:
            Its ref, or None where it was not time.
        """
        step = int(self._step_counter) if self._step_counter is not None else None
        if check_interval and self._interval is not None and self._last_step is not None:
            assert step is not None
            if step - self._last_step < self._interval:
                return None
        self._checkpoint.save_counter.assign_add(1)
        given = (
            checkpoint_number if checkpoint_number is not None else self._checkpoint.save_counter
        )
        number = int(given)
        self.last_save = self._checkpointer().save(number, tag=tag, metrics=metrics)
        self._last_step = step
        return f"{self._run}@{number}"

    def restore_or_initialize(self) -> str | None:
        """Restore the newest good checkpoint; where there is none, call ``init_fn``.

        Returns:
            Its ref, or None where there was none.
        """
        restored = self.restore()
        if restored is None:
            if self._init_fn is not None:
                self._init_fn()
            return None
        return restored.ref

    def restore(self, ref: str | int | None = None) -> Restored | None:
        """Restore the newest good checkpoint, or the one that a ref or number names."""
        restored = self._checkpointer().restore(ref)
        if restored is not None and self._step_counter is not None:
            self._last_step = int(self._step_counter)
        return restored

    def wait(self) -> None:
        """Wait until every save is durable; raises what went wrong."""
        self._wait()
