"""What the arguments of policies may be; refusals name the argument and what was given."""

from __future__ import annotations

import math
import operator
from typing import Literal, SupportsIndex, cast

from holdfast.errors import UsageError

Mode = Literal["min", "max"]

# Of anything narrower nobody could count how often it goes into a date or into an epoch.
_LEAST = 1e-9


def positive_int(name: str, value: object) -> int:
    """Return value as an int above zero, else raise UsageError."""
    try:
        number = operator.index(cast(SupportsIndex, value))
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool):
        raise UsageError(f"{name} must be a whole number above zero, not {value!r}.", name=name)
    return number


def positive_number(name: str, value: object) -> float:
    """Return value as a finite number above zero, and not next to it, else raise UsageError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{name} must be a number above zero, not {value!r}.", name=name)
    if not (value > 0 and _is_finite(value)):
        raise UsageError(f"{name} must be above zero and finite, not {value!r}.", name=name)
    if value < _LEAST:
        raise UsageError(f"{name} must be {_LEAST:g} or more, not {value!r}.", name=name)
    return value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # A whole number beyond all floats.
        return False


def exactly_one(what: str, **amounts: object) -> tuple[str, object]:
    """Return the name and value of the only argument that was given, else raise UsageError."""
    given = [(name, value) for name, value in amounts.items() if value is not None]
    if len(given) != 1:
        forms = ", ".join(f"{what}({name}=…)" for name in amounts)
        found = ", ".join(name for name, _ in given) or "none"
        raise UsageError(
            f"{what}() takes exactly one amount, {found} given: use one of {forms}; "
            "combine several with '|'."
        )
    return given[0]


def checked_mode(mode: object) -> Mode:
    """Return mode if it is "min" or "max", else raise UsageError."""
    if mode not in ("min", "max"):
        raise UsageError(f"mode is 'min' (lower is better) or 'max', not {mode!r}.", mode=mode)
    return mode


def checked_metric(metric: object) -> str:
    """Return metric if it names one, else raise UsageError."""
    if not isinstance(metric, str) or not metric:
        raise UsageError(f"A metric is named by a str, not {metric!r}.", metric=metric)
    return metric


def is_better(value: float, than: float, mode: Mode) -> bool:
    """Return whether value beats the other one strictly; what is not finite never does."""
    if not math.isfinite(value):
        return False
    return value < than if mode == "min" else value > than


def counted(amount: float, unit: str) -> str:
    """Return a reason in words.

    >>> counted(500, "steps"), counted(1, "epochs"), counted(0.5, "hours")
    ('every 500 steps', 'every epoch', 'every 0.5 hours')
    """
    return f"every {unit.removesuffix('s')}" if amount == 1 else f"every {amount:.12g} {unit}"
