"""What is still to do after the batch of a checkpoint: validation, the end of an epoch.

Lightning, going on from such a checkpoint, takes the batch for done with all that follows it: it
leaves out the validation that was due and, after an epoch's last batch, the end of that epoch, and
then asks a loader that knows its place, at the end of its data, for a whole epoch. Here the
progress that it reads says instead that the batch is done and its validation is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.data import DataLoader
from holdfast.integrations.lightning_names import Trainer

_BATCHES = "epoch_loop.batch_progress"
_VALIDATION = "epoch_loop.val_loop.batch_progress"
_STEPPED = "_batches_that_stepped"


def validation_is_due(trainer: Trainer) -> bool:
    """Say whether Lightning validates after the batch that it is at."""
    every = trainer.check_val_every_n_epoch
    if not trainer.enable_validation:
        return False
    if every is not None and (trainer.current_epoch + 1) % every:
        return False
    progress = trainer.fit_loop.epoch_loop.batch_progress
    if trainer.val_check_batch == math.inf:
        return bool(progress.is_last_batch)
    done = progress.total.ready if every is None else progress.current.ready
    return bool(trainer.val_check_batch and done % trainer.val_check_batch == 0)


def finish_batch(checkpoint: dict[str, Any], validates: bool) -> bool:
    """Change what a checkpoint says of progress, so that what follows its batch is done.

    Args:
        checkpoint: Lightning's, which is changed.
        validates: Whether validation was due after its batch.

    Returns:
        Whether validation comes first when training goes on.
    """
    fit = checkpoint.get("loops", {}).get("fit_loop", {})
    batches = fit.get(_BATCHES)
    if batches is None or not _saved_at_end_of_batch(batches["total"]):
        return False
    knows_place = bool(fit.get("state_dict", {}).get("combined_loader"))
    if not validates and not (batches["is_last_batch"] and knows_place):
        return False
    for count in (batches["total"], batches["current"]):
        count["completed"] = count["processed"]
    if validates:
        # As if it had been left at its first batch.
        total = fit[_VALIDATION]["total"]
        total["ready"] = total["started"] = total["processed"] + 1
        total["completed"] = total["processed"]
        fit[_VALIDATION]["current"] = dict.fromkeys(fit[_VALIDATION]["current"], 0)
    else:
        fit["epoch_loop.state_dict"][_STEPPED] += 1
    return validates


def validation_begins(trainer: Trainer) -> None:
    """Count the batches of validation from where they were, now that it goes on."""
    total = trainer.fit_loop.epoch_loop.val_loop.batch_progress.total
    total.ready = total.started = total.processed


def only_end_is_left(checkpoint: dict[str, Any]) -> bool:
    """Say whether all batches of the epoch of a checkpoint are done, and the epoch is not."""
    fit = checkpoint.get("loops", {}).get("fit_loop", {})
    epochs = fit.get("epoch_progress", {}).get("total")
    if epochs is None or epochs["processed"] == epochs["started"]:
        return False
    return bool(fit.get(_BATCHES, {}).get("is_last_batch"))


def places_after_epoch(checkpoint: dict[str, Any]) -> list[Any]:
    """Return where its loaders were, if a checkpoint was made between two epochs, else nothing."""
    fit = checkpoint.get("loops", {}).get("fit_loop", {})
    epochs = fit.get("epoch_progress", {}).get("total")
    if epochs is None or epochs["processed"] < epochs["started"]:
        return []
    return list(fit.get("state_dict", {}).get("combined_loader", ()))


def begin_next_epoch(loaders: Any, places: Sequence[Any]) -> None:
    """Let loaders begin the epoch after the one at whose end they were.

    Lightning puts loaders back within an epoch only: between two they began with their first.

    Args:
        loaders: What trains, as it was given to Lightning.
        places: What was saved of each.
    """
    for loader, place in zip(_flat(loaders), places, strict=False):
        if isinstance(loader, DataLoader) and loader.position == 0 and isinstance(place, dict):
            loader.set_epoch(place["epoch"] + (place["position"] > 0))


def leave_empty_rest(loaders: Any) -> None:
    """Let loaders that stand at the end of their data go on with their next epoch.

    Lightning asks them for the rest of an epoch, which is empty, before it knows that all batches
    are done, and never takes it.
    """
    for loader in _flat(loaders):
        if isinstance(loader, DataLoader) and loader.position == len(loader):
            loader.set_epoch(loader.epoch + 1)


def _flat(loaders: Any) -> list[Any]:
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    if isinstance(loaders, list | tuple):
        return [loader for several in loaders for loader in _flat(several)]
    return [loaders]


def _saved_at_end_of_batch(total: dict[str, int]) -> bool:
    done = total["processed"]
    return total["ready"] == total["started"] == done and total["completed"] == done - 1
