"""Retention policies as text, for the command line: ``last:3``, ``best:val_loss:2:max``."""

from __future__ import annotations

import re

from holdfast.errors import UsageError
from holdfast.policy.checks import Mode
from holdfast.policy.keep import (
    KeepAll,
    KeepBest,
    KeepEverySteps,
    KeepEveryTime,
    KeepLast,
    KeepPolicy,
    KeepTagged,
    keep,
    members,
)

FORMS = "last:N, best:METRIC[:N][:min|max], every:Nsteps, every:Nhours, every:Ndays, tagged, all"
# An amount may have an exponent, as Python writes those that are very small or large.
_EVERY = re.compile(r"(?P<amount>\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?P<unit>step|hour|day)s?")


def parse_keep(text: str) -> KeepPolicy:
    """Return the retention policy that a text names.

    Args:
        text: One of ``FORMS``. The metric of ``best`` may hold colons itself; the number (1 if
            left out) and the mode (min if left out) are taken from its end.

    Raises:
        UsageError: The text is none of the forms; the message has them all.
    """
    kind, _, rest = text.strip().partition(":")
    try:
        policy = _parsed(kind, rest)
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
    if kind == "every" and (match := _EVERY.fullmatch(rest)):
        return _parsed_every(match["amount"], match["unit"])
    if kind == "tagged" and not rest:
        return keep.tagged()
    if kind == "all" and not rest:
        return keep.all()
    return None


def _parsed_best(words: list[str]) -> KeepPolicy:
    mode: Mode = "min"
    n = 1
    if len(words) > 1 and words[-1] in ("min", "max"):
        mode = "max" if words.pop() == "max" else "min"
    if len(words) > 1 and words[-1].isdecimal():
        n = int(words.pop())
    return keep.best(":".join(words), n, mode)


def _parsed_every(amount: str, unit: str) -> KeepPolicy | None:
    number = int(amount) if amount.isdecimal() else float(amount)
    if unit == "step":
        return keep.every(steps=number) if isinstance(number, int) else None
    return keep.every(hours=number) if unit == "hour" else keep.every(days=number)


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
        case KeepEveryTime(amount, unit):
            return f"every:{amount}{unit}"
        case KeepTagged():
            return "tagged"
        case KeepAll():
            return "all"
        case _:
            raise UsageError(f"{policy!r} is none of holdfast's retention policies.")
