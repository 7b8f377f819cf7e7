"""Where ``fit`` stands: epoch, batch, history and running metrics, as one object with a state."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


class FitProgress:
    """What ``fit`` would have to know to go on, and does not save.

    Attributes:
        epoch: The epoch under way, from 0.
        batch: Batches of it that are done.
        steps: Batches done in all.
        history: What each finished epoch logged.
        loaded_metrics: Values of the metrics' variables that were restored and wait to be put in.
    """

    def __init__(self) -> None:
        self.model: Any = None
        self.epoch = 0
        self.batch = 0
        self.steps = 0
        self.history: dict[str, list[float]] = {}
        self.loaded_metrics: list[Any] = []

    def end_epoch(self, epoch: int, logs: dict[str, Any]) -> None:
        """Note that an epoch is over, with what it logged."""
        self.epoch, self.batch = epoch + 1, 0
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def put_metrics(self, sample: Any) -> bool:
        """Give the metrics what was restored of them; say whether they could take it.

        Args:
            sample: A batch, to build metrics with that have no variables yet; or None.
        """
        saved, self.loaded_metrics = self.loaded_metrics, []
        model = self.model
        build = getattr(model, "_symbolic_build", None)
        if len(saved) != len(model.metrics_variables) and sample is not None and callable(build):
            # TensorFlow makes them with the first batch, which here is one in the middle.
            build(data_batch=sample)
        variables = model.metrics_variables
        if [v.shape for v in saved] != [tuple(v.shape) for v in variables]:
            return False
        for variable, value in zip(variables, saved, strict=True):
            variable.assign(value)
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return it as plain values and arrays."""
        running = [] if self.batch == 0 or self.model is None else self.model.metrics_variables
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "steps": self.steps,
            "history": {name: [float(v) for v in values] for name, values in self.history.items()},
            "metrics": [np.array(keras.ops.convert_to_numpy(v.value)) for v in running],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved place."""
        self.epoch, self.batch, self.steps = state["epoch"], state["batch"], state["steps"]
        self.history, self.loaded_metrics = state["history"], state["metrics"]
