"""Variables of Keras and TensorFlow, filled with values that differ, and their bits."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def filled(model: Any) -> Any:
    """Give all variables of a model and of its optimizer values that differ."""
    model.optimizer.build(model.trainable_variables)
    for seed, variable in enumerate((*model.weights, *model.optimizer.variables)):
        values = np.random.default_rng(seed).integers(1, 99, variable.shape)
        variable.assign(keras.ops.cast(values, variable.dtype))
    return model


def bits(value: Any) -> bytes:
    return bytes(np.asarray(value).tobytes())
