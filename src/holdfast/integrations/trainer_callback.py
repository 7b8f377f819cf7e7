"""A callback that lets Hugging Face's Trainer save into a holdfast store and resume exactly.

The moment of a save is the one at which the Trainer, resuming, sets its random numbers: after the
next batch was fetched, or before the first of an epoch. Whatever a step sets off besides, logging,
evaluation, the search for the best metric, is over by then.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from accelerate.optimizer import AcceleratedOptimizer
from transformers import TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

from holdfast.checkpointer import Checkpointer
from holdfast.data.seeded_dataset import SeededDataset
from holdfast.errors import NotFound, UsageError
from holdfast.format.names import check_run, check_tag
from holdfast.integrations.arguments import check_options
from holdfast.integrations.newest import newest_good
from holdfast.integrations.trainer_folder import write_folder
from holdfast.integrations.trainer_state import TrainerProgress
from holdfast.oneshot import load
from holdfast.policy.when import SavePolicy
from holdfast.records.opening import Location
from holdfast.repository import Store
from holdfast.state import rng

_log = logging.getLogger("holdfast")
_FOLDER = "holdfast-resume"


@final
class HoldfastCallback(TrainerCallback):  # type: ignore[misc]
    """Saves everything that a Trainer's run needs to go on, by a policy.

    ::

        callback = HoldfastCallback("ckpts", run="bert", save=every(steps=500))
        trainer = Trainer(..., callbacks=[callback])
        trainer.train(resume_from_checkpoint=callback.resume(trainer))

    Steps are the Trainer's: a checkpoint of step 500 is what it is after 500 updates. What it logs
    and evaluates goes with the checkpoints. The Trainer's own saves are not needed:
    ``save_strategy="no"``.

    Args:
        location: Folder of the store, or a ``Store``.
        run: Name of the run.
        save: When to save.
        final_tag: A tag for the last checkpoint, which is saved when training ends; None: only
            the policy saves.
        **options: Passed on to ``Checkpointer``: ``keep``, ``watch``, ``on_error``, …
    """

    def __init__(
        self,
        location: Location | Store,
        *,
        run: str,
        save: SavePolicy,
        final_tag: str | None = None,
        **options: Any,
    ) -> None:
        self._location = location
        self._run = check_run(run)
        self._final_tag = check_tag(final_tag) if final_tag is not None else None
        self._options = {**check_options(options, "HoldfastCallback"), "save": save}
        self._trainer: Any = None
        self._progress: TrainerProgress | None = None
        self._ckpt: Checkpointer | None = None
        self._noted = 0
        self._metrics: dict[str, Any] = {}
        self._last: Mapping[str, Any] = {}
        self._resumed: tuple[str, int] | None = None
        self._folder: Path | None = None
        self._generators: Mapping[str, Any] | None = None

    def resume(self, trainer: Any, ref: str | None = None) -> str | None:
        """Bring a checkpoint to where a Trainer can take it up.

        The weights are put into its model. A folder in its ``output_dir`` tells it how far it had
        come; it is gone once training has begun.

        Args:
            trainer: The one that has this callback.
            ref: The checkpoint; None: the newest good one of the run.

        Returns:
            What to give to ``trainer.train(resume_from_checkpoint=…)``: the folder, or None where
            the run has no checkpoint yet.

        Raises:
            NoGoodCheckpoint: There are checkpoints, but none is good.
            Mismatch: It does not fit the model; nothing was changed.
        """
        _require_single(trainer.args)
        self._trainer, self._resumed = trainer, None
        store = Store(self._location)
        if ref is None:
            try:
                # The Trainer takes it piece by piece: all of them are to be good.
                ref = newest_good(store, self._run).ref
            except NotFound:
                return None
        restored = load(store, ref, into={"model": trainer.model})
        self._resumed = restored.ref, restored.step
        self._folder = Path(trainer.args.output_dir) / _FOLDER
        shutil.rmtree(self._folder, ignore_errors=True)
        write_folder(self._folder, trainer, store, restored.ref)
        return str(self._folder)

    @property
    def resumed_step(self) -> int | None:
        """The step of the checkpoint that was resumed from, or None."""
        return None if self._resumed is None else self._resumed[1]

    def export(self, trainer: Any, ref: str, folder: str | os.PathLike[str]) -> None:
        """Write a checkpoint as a folder of Hugging Face's own layout; the model gets its weights.

        It has the weights, configuration, processor and ``trainer_state.json``.

        Raises:
            UsageError: The folder is there already.
        """
        target = Path(folder)
        if target.exists():
            raise UsageError(f"{target} is there already; nothing was written.")
        store = Store(self._location)
        load(store, ref, into={"model": trainer.model})
        write_folder(target, trainer, store, ref)

    # --- what the Trainer calls ---

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make the Checkpointer, and restore all that the Trainer itself has not."""
        if self._trainer is None:
            raise UsageError(
                "HoldfastCallback does not know its Trainer. Begin with "
                "trainer.train(resume_from_checkpoint=callback.resume(trainer))."
            )
        _require_single(args)
        if self._resumed is not None and state.global_step != self._resumed[1]:
            raise UsageError(
                f"{self._resumed[0]} was brought to the model, but the Trainer begins at step "
                f"{state.global_step}. Give what resume() returns to trainer.train()."
            )
        self._progress = TrainerProgress(self._trainer)
        self._progress.follow(state, control)
        # Left open where an error has ended a training of the same objects.
        self._close()
        self._ckpt = Checkpointer(
            self._location, self._state(kwargs), run=self._run, ranks=None, **self._options
        )
        self._noted, self._metrics, self._generators = state.global_step, {}, None
        if self._resumed is not None:
            self._ckpt.restore(self._resumed[0])
            # The first batches are fetched before these are to hold.
            self._generators = rng.capture()
            _log.info("Resumed from %s.", self._resumed[0])

    def _state(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        optimizer = kwargs["optimizer"]
        if isinstance(optimizer, AcceleratedOptimizer):
            optimizer = optimizer.optimizer
        state = {
            "model": kwargs["model"],
            "optimizer": optimizer,
            "scheduler": kwargs["lr_scheduler"],
            "trainer": self._progress,
        }
        scaler = getattr(self._trainer.accelerator, "scaler", None)
        return state if scaler is None else {**state, "scaler": scaler}

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take what is logged as metrics of the step."""
        numbers = {k: v for k, v in (logs or {}).items() if isinstance(v, int | float)}
        self._metrics.update(numbers)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Let the step before be over; augmentation is that of the epoch that begins."""
        dataset = getattr(self._trainer, "train_dataset", None)
        if isinstance(dataset, SeededDataset):
            dataset.set_epoch(int(state.epoch or 0))
        if state.global_step % _updates_per_epoch(args, state, kwargs["train_dataloader"]) == 0:
            self._end_of_step(state, control)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Let the step before be over."""
        self._end_of_step(state, control)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save the end, and wait until all is durable."""
        self._end_of_step(state, control)
        assert self._ckpt is not None
        if self._final_tag is not None:
            self._ckpt.save(state.global_step, tag=self._final_tag, metrics=self._last).wait()
        self._close()

    def _close(self) -> None:
        ckpt, self._ckpt = self._ckpt, None
        if ckpt is not None:
            ckpt.close()

    def _end_of_step(self, state: TrainerState, control: TrainerControl) -> None:
        assert self._ckpt is not None and self._progress is not None
        self._progress.follow(state, control)
        if self._generators is not None:
            generators, self._generators = self._generators, None
            rng.apply(generators)
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
        if state.global_step > self._noted:
            self._noted = state.global_step
            self._last, self._metrics = self._metrics, {}
            self._ckpt.step(state.global_step, metrics=self._last, epoch=state.epoch)


def _updates_per_epoch(args: TrainingArguments, state: TrainerState, loader: Any) -> int:
    try:
        batches = len(loader)
    except TypeError:
        # Of a stream the Trainer takes all steps for one epoch.
        return max(int(state.max_steps), 1)
    return max(-(-batches // int(args.gradient_accumulation_steps)), 1)


def _require_single(args: TrainingArguments) -> None:
    if args.world_size > 1 or args.n_gpu > 1:
        raise UsageError(
            "HoldfastCallback saves the Trainer of one process on one device; this one has "
            f"{max(args.world_size, args.n_gpu)}. Nothing was saved. For several processes use "
            "holdfast.dcp with the model's own distributed state."
        )
