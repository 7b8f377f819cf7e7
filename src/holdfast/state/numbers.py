"""Steps and metrics as users hand them in, checked."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

from holdfast.errors import UsageError

MAX_STEP = 2**63 - 1


def check_step(step: object) -> int:
    """Return step as an int, or raise UsageError where it is no count of steps."""
    try:
        number = operator.index(step)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if isinstance(step, bool) or not 0 <= number <= MAX_STEP:
        raise UsageError(f"A step is an int of 0 or more, not {step!r}.", step=step)
    return number


def clean_metrics(metrics: Mapping[str, Any] | None) -> dict[str, float]:
    """Return metrics as floats; arrays and tensors of one element are taken too.

    Raises:
        UsageError: A name is no str, or a value no single number.
    """
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        raise UsageError(f"metrics= takes a dict of numbers, not a {type(metrics).__name__}.")
    return {_name(name): _number(name, value) for name, value in metrics.items()}


def _name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise UsageError(f"The name of a metric is a str, not {name!r}.")
    return name


def _number(name: object, value: Any) -> float:
    # A loss that still carries its graph; only its number is wanted.
    detach, item = getattr(value, "detach", None), getattr(value, "item", None)
    try:
        if callable(item):
            value = detach().item() if callable(detach) else item()
        return math.nan if value is None else float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UsageError(f"The metric {name!r} is {value!r}, which is no number.") from error
