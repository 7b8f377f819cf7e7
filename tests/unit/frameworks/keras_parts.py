"""A small model, and what the checks of Keras ask of it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from holdfast.errors import Mismatch

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("f4")
Y = X.sum(axis=1, keepdims=True)


def net(width: int = 8, compiled: bool = True) -> Any:
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(width, activation="relu", name="block_7"),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1),
        ]
    )
    if compiled:
        model.compile("adam", "mse", metrics=["mae"])
    return model


def values(*objects: Any) -> list[bytes]:
    return [
        np.asarray(keras.ops.convert_to_numpy(v.value)).tobytes()
        for value in objects
        for v in value.variables
    ]


def raises(part: str, call: Any, kind: type[Exception] = Mismatch) -> None:
    try:
        call()
    except kind as error:
        assert part in str(error), error
    else:
        raise AssertionError(part)
