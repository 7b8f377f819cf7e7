"""A Keras callback: ``fit`` is saved by a policy and goes on where it was, by the same command."""

from __future__ import annotations

import logging
from typing import Any, Literal

import keras

from holdfast.checkpointer import Checkpointer
from holdfast.errors import UsageError
from holdfast.format.names import check_run, check_tag
from holdfast.history.meaning import best_name
from holdfast.integrations.arguments import check_names, check_options
from holdfast.integrations.keras_data import Batches
from holdfast.integrations.keras_progress import FitProgress
from holdfast.policy.keep import keep as keep_policies
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.policy.when import SavePolicy, every, on
from holdfast.records.opening import Location
from holdfast.repository import Store
from holdfast.restored import Restored

_log = logging.getLogger("holdfast")
# What ends the rest of an epoch, which Keras takes for a whole one, but not training.
_EPOCH_DONE = "this epoch is done"


class HoldfastCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Does for ``fit`` what ``BackupAndRestore`` and ``ModelCheckpoint`` do together, and more.

    When ``fit`` begins, the newest good checkpoint of the run is restored: weights, optimizer,
    generators, epoch, batch, history. A step is a batch, counted through all epochs. Put it last
    among the callbacks.

    Args:
        location: Folder of the store, or a ``Store``.
        run: Name of the run.
        data: The ``Batches`` that are given to ``fit``, to go on in the middle of an epoch with the
            batch that comes next. Without, an epoch that was interrupted begins at its first batch
            again.
        save: When to save. None: at the end of each epoch, and when a signal asks to leave.
        keep: Which checkpoints stay. None: the last three, and the best if ``monitor`` is given.
        monitor: A metric; the best checkpoint by it is saved and kept, across restarts.
        mode: ``min`` or ``max``: which value of it is best.
        restore_best_weights: At the end, the model gets the weights of the best checkpoint.
        tag: A name for the checkpoint of the end.
        state: More objects to save and restore, by name: other callbacks, generators, a dict.
        options: More arguments of the ``Checkpointer``.

    Attributes:
        restored: What was restored when ``fit`` began; None where the run is new.
        checkpointer: The ``Checkpointer`` while ``fit`` runs.
    """

    def __init__(
        self,
        location: Location | Store,
        *,
        run: str,
        data: Batches | None = None,
        save: SavePolicy | None = None,
        keep: KeepPolicy | None = None,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
        restore_best_weights: bool = False,
        tag: str | None = None,
        state: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if data is not None and not isinstance(data, Batches):
            raise UsageError(f"data= takes holdfast.keras.Batches, not {type(data).__name__}.")
        if restore_best_weights and monitor is None:
            raise UsageError("restore_best_weights= needs monitor=, a metric to be best by.")
        check_names(["model", "fit", *(["data"] if data is not None else [])], state, "state")
        save = save if save is not None else every(epochs=1) | on.signal()
        keep = keep if keep is not None else keep_policies.last(3)
        if monitor is not None:
            save = save | on.best(monitor, mode)
            keep = keep | keep_policies.best(monitor, mode=mode)
        self._location, self._run, self._data = location, check_run(run), data
        self._how = {"save": save, "keep": keep, **check_options(options, "HoldfastCallback")}
        self._best = best_name(monitor, mode) if monitor and restore_best_weights else None
        self._more = dict(state or {})
        self._tag = check_tag(tag) if tag is not None else None
        self._progress = FitProgress()
        self._seen = 0
        self._pending: dict[str, Any] | None = None
        self._told: dict[str, Any] | None = None
        self._resumes_within = False
        self._rate: Any = None
        self._first = 0
        self.restored: Restored | None = None
        self.checkpointer: Checkpointer | None = None

    @property
    def steps(self) -> int:
        """Batches done in all, through all epochs and all lives of the run."""
        return self._progress.steps

    # --- fit begins and ends ---

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the newest good checkpoint."""
        if self.checkpointer is not None:
            # Left open by a fit that an error has ended.
            self.checkpointer.close()
        progress = self._progress
        progress.model = self.model
        state = {"model": self.model, "fit": progress, **self._more}
        if self._data is not None:
            state["data"] = self._data
        self.checkpointer = Checkpointer(
            self._location, state, run=self._run, ranks=None, **self._how
        )
        self.restored = self.checkpointer.restore()
        self._seen = progress.steps
        self._resumes_within = progress.batch > 0
        self._rate = self._rate_of_optimizer() if self._resumes_within else None
        if self.restored is not None:
            # What Keras' own BackupAndRestore sets.
            self.model._initial_epoch = progress.epoch
        if self._resumes_within and self._data is None:
            _log.warning(
                "%s is in the middle of epoch %d, after batch %d. Without data= that epoch begins "
                "at its first batch again; what was trained of it stays trained.",
                self.restored.ref if self.restored else "",
                progress.epoch + 1,
                progress.batch,
            )
            progress.batch = 0

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Save the end, take the best weights if they are wanted, and close."""
        checkpointer = self.checkpointer
        if checkpointer is None:
            return
        if self._progress.steps > self._seen or self.restored is None:
            # A checkpoint of the same step takes the place of an earlier one, metrics and all.
            step = max(self._progress.steps - 1, 0)
            checkpointer.save(step, tag=self._tag, metrics=self._told).wait()
        elif self._tag is not None:
            # It was killed before its last checkpoint had its name.
            Store(self._location).tag(self.restored.ref, self._tag)
        if self._best is not None:
            self._take_best(checkpointer, self._best)
        self.__exit__(None, None, None)

    def _take_best(self, checkpointer: Checkpointer, ref: str) -> None:
        best = checkpointer.restore(ref, only="model/**", skip="model/@optimizer/**", strict=False)
        if best is not None:
            _log.info("The model has the weights of %s, the best.", best.ref)

    def __enter__(self) -> HoldfastCallback:
        """Let an exception in ``fit`` be seen, for ``on.exception()``."""
        return self

    def __exit__(self, *left: Any) -> None:
        checkpointer, self.checkpointer = self.checkpointer, None
        if checkpointer is not None:
            # Another fit of this model, without this callback, begins with its own first epoch.
            self.model._initial_epoch = None
            checkpointer.__exit__(*left)

    # --- epochs and batches ---

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Put the data where it belongs, and the metrics of an epoch that was begun."""
        progress = self._progress
        within = self._resumes_within and epoch == progress.epoch and self._data is not None
        self._resumes_within = False
        progress.epoch = epoch
        progress.batch = progress.batch if within else 0
        if self._data is not None:
            self._data.begin(epoch, progress.batch)
        if within:
            sample = self._data[0] if self._data is not None and len(self._data) else None
            if not progress.put_metrics(sample):
                _log.warning("The metrics of epoch %d are those of its rest alone.", epoch + 1)
        self._first = progress.batch
        if self.restored is not None and hasattr(self.model, "history"):
            self._put_history()

    def _rate_of_optimizer(self) -> Any:
        """Return the learning rate where it is a number, which callbacks may set; else None."""
        rate = getattr(getattr(self.model, "optimizer", None), "learning_rate", None)
        return keras.ops.convert_to_numpy(rate) if isinstance(rate, keras.Variable) else None

    def _put_history(self) -> None:
        history = self.model.history
        if history is not None and not history.epoch:
            done = {name: list(values) for name, values in self._progress.history.items()}
            history.history.update(done)
            history.epoch.extend(range(self._progress.epoch))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tell of the batch before: only now is it known that it was not the epoch's last."""
        rate, self._rate = self._rate, None
        if rate is not None:
            # What begins an epoch, as LearningRateScheduler, has begun this one a second time.
            self.model.optimizer.learning_rate = rate
        self._tell()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count a batch."""
        progress = self._progress
        done = self._first + batch + 1
        progress.steps += done - progress.batch
        progress.batch = done
        self._pending = dict(logs or {})
        if self._first and self._data is not None and done >= self._data.batches_in_epoch:
            # One more would be asked for, and drawn random numbers for, before it is missed.
            self.model.stop_training = self.model.stop_training or _EPOCH_DONE

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tell of the epoch's last batch, with what validation found."""
        if self.model.stop_training is _EPOCH_DONE:
            self.model.stop_training = False
        self._progress.end_epoch(epoch, dict(logs or {}))
        self._pending = dict(logs or {})
        self._tell()

    def _tell(self) -> None:
        metrics, self._pending = self._pending, None
        if metrics is None or self.checkpointer is None:
            return
        self._told = metrics
        progress = self._progress
        part = progress.batch / self._data.batches_in_epoch if self._data is not None else 0.0
        self.checkpointer.step(progress.steps - 1, metrics, epoch=progress.epoch + part)
