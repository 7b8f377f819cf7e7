"""Retention policies as text, for the command line: ``last:3``, ``best:val_loss:2:max``."""

from __future__ import annotations

import re
from typing import Any

from holdfast.errors import UsageError
from holdfast.policy.checks import Mode
from holdfast.policy.keep import keep
from holdfast.policy.keep_ages import KeepEveryTime, KeepWithin, KeepYoung
from holdfast.policy.keep_budget import KeepBudget
from holdfast.policy.keep_policy import KeepPolicy, members
from holdfast.policy.keep_rules import (
    KeepAll,
    KeepBest,
    KeepEveryEpochs,
    KeepEverySteps,
    KeepLast,
    KeepTagged,
)

FORMS = (
    "last:N, best:METRIC[:N][:min|max], every:Nsteps, every:Nhours, every:Ndays, every:Nepochs, "
    "within:Nhours, within:Ndays, within:Nsteps, thinning, budget:200GB, tagged, all; h and d for "
    "hours and days; ':within:…' behind one of them applies it to young ones only"
)
_AMOUNT = re.compile(
    r"(?P<number>\d{1,18}(?:\.\d+)?(?:e[+-]?\d{1,3})?)(?P<unit>steps?|epochs?|hours?|h|days?|d)"
)
_UNITS = {"s": "steps", "e": "epochs", "h": "hours", "d": "days"}
_YOUNG = ":within:"
# Numbers of more digits take Python long to read.
_MAX_CHARACTERS = 4000


def parse_keep(text: str) -> KeepPolicy:
    """Return the retention policy that a text names.

    Args:
        text: One of ``FORMS``. The metric of ``best`` may hold colons itself; the number (1 if
            left out) and the mode (min if left out) are taken from its end.

    Raises:
        UsageError: The text is none of the forms; the message has them all.
    """
    if len(text) > _MAX_CHARACTERS:
        raise _unreadable(f"{text[:40]}…", f" It has {len(text)} characters.")
    kind, _, rest = text.strip().partition(":")
    try:
        policy = _parsed_young(text.strip()) or _parsed(kind, rest)
    except UsageError as error:
        raise _unreadable(text, f" {error.message}") from error
    if policy is None:
        raise _unreadable(text, "")
    return policy


def _parsed(kind: str, rest: str) -> KeepPolicy | None:
    if kind == "last" and rest.isdecimal():
        return keep.last(int(rest))
    if kind == "best" and rest:
        return _parsed_best(rest.split(":"))
    if kind == "every" and (amounts := _amount(rest)):
        return keep.every(**amounts)
    if kind == "within" and (amounts := _amount(rest)) and "epochs" not in amounts:
        return keep.within(**amounts)
    if kind == "budget" and rest:
        return keep.budget(rest)
    plain = {"tagged": keep.tagged, "all": keep.all, "thinning": keep.thinning}
    return plain[kind]() if kind in plain and not rest else None


def _parsed_young(text: str) -> KeepPolicy | None:
    """Return the policy of ``POLICY:within:AMOUNT``, or None where the text is none."""
    inner, separator, age = text.rpartition(_YOUNG)
    amounts = _amount(age)
    if not (separator and amounts) or "epochs" in amounts:
        return None
    return parse_keep(inner).within(**amounts)


def _amount(text: str) -> dict[str, Any]:
    """Return an amount by its unit, nothing where the text is none."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        return {}
    number = match["number"]
    return {_UNITS[match["unit"][0]]: int(number) if number.isdecimal() else float(number)}


def _parsed_best(words: list[str]) -> KeepPolicy:
    mode: Mode = "min"
    n = 1
    if len(words) > 1 and words[-1] in ("min", "max"):
        mode = "max" if words.pop() == "max" else "min"
    if len(words) > 1 and words[-1].isdecimal():
        n = int(words.pop())
    return keep.best(":".join(words), n, mode)


def _unreadable(text: str, detail: str) -> UsageError:
    return UsageError(
        f"{text!r} names no retention policy.{detail} Nothing was removed. Write one of: {FORMS}.",
        text=text,
    )


def format_keep(policy: KeepPolicy) -> list[str]:
    """Return the texts of a policy's members; ``parse_keep`` of each, united, is the policy.

    >>> format_keep(keep.last(3) | keep.every(hours=24))
    ['last:3', 'every:24hours']
    """
    return [_formatted(member) for member in members(policy)]


def _formatted(policy: KeepPolicy) -> str:
    match policy:
        case KeepLast(n):
            return f"last:{n}"
        case KeepBest(metric, n, mode):
            return f"best:{metric}:{n}:{mode}"
        case KeepEverySteps(steps):
            return f"every:{steps}steps"
        case KeepEveryEpochs(epochs):
            return f"every:{epochs}epochs"
        case KeepEveryTime(amount, unit):
            return f"every:{amount}{unit}"
        case KeepWithin(age):
            return f"within:{age.amount}{age.unit}"
        case KeepYoung(inner, age):
            return f"{_formatted(inner)}{_YOUNG}{age.amount}{age.unit}"
        case KeepBudget(nbytes):
            return f"budget:{nbytes}"
        case KeepTagged():
            return "tagged"
        case KeepAll():
            return "all"
        case _:
            raise UsageError(f"{policy!r} is none of holdfast's retention policies.")
