"""Steps and metrics as users hand them in, checked."""

from __future__ import annotations

import logging
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from holdfast.errors import UsageError

_log = logging.getLogger("holdfast")

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


def check_epoch(epoch: object) -> float | None:
    """Return epochs as a float, None where none were named, or raise UsageError."""
    if epoch is None:
        return None
    if isinstance(epoch, bool) or not isinstance(epoch, Real):
        raise UsageError(f"epoch= takes a number of epochs, not {epoch!r}.")
    return float(epoch)


def clean_metrics(metrics: Mapping[str, Any] | None) -> dict[str, float]:
    """Return metrics as floats; arrays and tensors of one element are taken too.

    Raises:
        UsageError: A name is no str, or a value no single number.
    """
    if metrics is None:
        return {}
    return {_name(name): _number(name, value) for name, value in _checked(metrics).items()}


@dataclass(frozen=True, slots=True)
class Later:
    """A number that is still being computed elsewhere: to be read when that does not hold up."""

    name: str
    value: Any

    def item(self) -> float:
        """Return the number, waiting for it if need be; NaN where there turns out to be none."""
        try:
            return _number(self.name, self.value)
        except UsageError as error:
            _log.warning("%s It is kept as NaN.", error)
            return math.nan


def read_now_or_later(metrics: Mapping[str, Any]) -> dict[str, float | Later]:
    """Return metrics as floats, but for those that an accelerator has still to compute.

    Raises:
        UsageError: A name is no str, or a value no single number.
    """
    return {_name(name): _now_or_later(name, value) for name, value in _checked(metrics).items()}


def _now_or_later(name: str, value: Any) -> float | Later:
    if type(value) is float:
        return value
    device = getattr(value, "device", None)
    kind = getattr(device, "type", "cpu")
    if kind != "cpu" and callable(getattr(value, "clone", None)):
        # A copy, since a running sum is changed in place; made there, without waiting.
        return Later(name, value.detach().clone())
    if callable(getattr(value, "copy_to_host_async", None)):
        return Later(name, value)  # An array that nobody can change.
    return _number(name, value)


def _checked(metrics: object) -> Mapping[Any, Any]:
    if not isinstance(metrics, Mapping):
        raise UsageError(f"metrics= takes a dict of numbers, not a {type(metrics).__name__}.")
    return metrics


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
        if isinstance(value, str | bytes | bytearray):
            # float() would read some of them.
            raise TypeError("text")
        return math.nan if value is None else float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UsageError(f"The metric {name!r} is {value!r}, which is no number.") from error
