"""Steps and metrics as users hand them in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from holdfast.errors import UsageError
from holdfast.state.numbers import MAX_STEP, check_step, clean_metrics


@pytest.mark.parametrize("step", [0, 1, MAX_STEP, np.int64(5), np.uint8(7)])
def test_steps(step: Any) -> None:
    assert check_step(step) == int(step)
    assert type(check_step(step)) is int


@pytest.mark.parametrize(
    "step", [-1, MAX_STEP + 1, 1.0, "1", None, True, False, np.float32(1), math.nan, [1]]
)
def test_what_is_no_step(step: Any) -> None:
    with pytest.raises(UsageError, match="step"):
        check_step(step)


def test_metrics_become_floats() -> None:
    found = clean_metrics({"a": 1, "b": np.float32(0.5), "c": np.array([[2.0]]), "d": True})
    assert found == {"a": 1.0, "b": 0.5, "c": 2.0, "d": 1.0}
    assert all(type(value) is float for value in found.values())
    assert clean_metrics(None) == {}


def test_a_metric_that_is_not_there_is_nan() -> None:
    found = clean_metrics({"a": None, "b": math.nan, "c": math.inf})
    assert math.isnan(found["a"]) and math.isnan(found["b"]) and found["c"] == math.inf


@pytest.mark.parametrize(
    "metrics",
    [
        [("a", 1)],
        5,
        {"a": "low"},
        {"a": [1, 2]},
        {"a": np.ones(2)},
        {"a": 1j},
        {"a": object()},
        {"a": 10**400},
        {"": 1},
        {5: 1},
        {None: 1},
    ],
    ids=range(11),
)
def test_what_is_no_metric(metrics: Any) -> None:
    with pytest.raises(UsageError, match="metric"):
        clean_metrics(metrics)
