"""A callback that carries over what Lightning's checkpoints lack: random numbers and epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from holdfast import frameworks
from holdfast.data.seeded_dataset import SeededDataset
from holdfast.integrations.lightning_io import HoldfastCheckpointIO
from holdfast.integrations.lightning_names import Callback, LightningModule, Trainer
from holdfast.integrations.lightning_progress import (
    begin_next_epoch,
    finish_batch,
    leave_empty_rest,
    only_end_is_left,
    places_after_epoch,
    validation_begins,
    validation_is_due,
)
from holdfast.state import rng

_KEY = "holdfast_rng"
_VALIDATES = "holdfast_validates"


@final
class HoldfastCallback(Callback):  # type: ignore[misc]
    """Random generators of Python, NumPy and PyTorch go on, at the first batch, where they were.

    Lightning saves none. Put it before ``ModelCheckpoint``; with a data loader that resumes
    (``holdfast.data.DataLoader``, torchdata's ``StatefulDataLoader``) a run that was killed in the
    middle of an epoch ends as it would have. Validation, or the end of an epoch, that was due after
    the batch of a checkpoint comes first when training goes on; Lightning would leave it out.
    """

    def __init__(self) -> None:
        self._generators: Mapping[str, Any] | None = None
        self._after_batch: Mapping[str, Any] | None = None
        self._validates_first = False
        self._ends_first = False
        self._places: list[Any] = []

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the random numbers into a checkpoint."""
        frameworks.activate()
        checkpoint[_KEY] = self._generators or rng.capture()
        checkpoint[_VALIDATES] = validation_is_due(trainer)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take them from one; they are set when training goes on, after all preparations."""
        frameworks.activate()
        self._generators = checkpoint.get(_KEY)
        self._validates_first = finish_batch(checkpoint, bool(checkpoint.get(_VALIDATES)))
        self._ends_first = only_end_is_left(checkpoint)
        self._places = places_after_epoch(checkpoint)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set them where an epoch begins; augmentation is that of the epoch."""
        self._go_on()
        self._tell_epoch(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let loaders leave an epoch of which only the end was to do."""
        if self._ends_first:
            self._ends_first = False
            leave_empty_rest(trainer.train_dataloader)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set them where training goes on within an epoch."""
        self._go_on()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember them: validation that follows shall not move them on."""
        self._after_batch = rng.capture()
        # Else a file appears with the next save only: who is killed before would not find it.
        files = trainer.strategy.checkpoint_io
        if isinstance(files, HoldfastCheckpointIO):
            files.catch_up()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set them where training goes on with the validation after a batch."""
        if trainer.sanity_checking or not self._validates_first:
            return
        self._validates_first = False
        validation_begins(trainer)
        self._after_batch = self._generators
        self._go_on()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put them back, so that it is the same whether a checkpoint was made before or after."""
        if self._after_batch is not None and not trainer.sanity_checking:
            rng.apply(self._after_batch)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell loaders and datasets the epoch that is gone on with."""
        places, self._places = self._places, []
        begin_next_epoch(trainer.train_dataloader, places)
        self._tell_epoch(trainer)

    def _go_on(self) -> None:
        if self._generators is not None:
            generators, self._generators = self._generators, None
            rng.apply(generators)

    def _tell_epoch(self, trainer: Trainer) -> None:
        loader = trainer.train_dataloader
        dataset = getattr(loader, "dataset", None)
        if isinstance(dataset, SeededDataset):
            dataset.set_epoch(trainer.current_epoch)
