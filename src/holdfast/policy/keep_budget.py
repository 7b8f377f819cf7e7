"""A budget of storage: of what the other policies keep, as much as fits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import final

from holdfast.errors import UsageError
from holdfast.format.sizes import size_text
from holdfast.policy.candidate import Candidate
from holdfast.policy.checks import positive_int
from holdfast.policy.keep_policy import KeepPolicy, Verdict, Verdicts

_SIZE = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kmgtpe]?)(?P<binary>i?)b?", re.IGNORECASE
)
_POWERS = "kmgtpe"

# What an object takes in the store, by key; a checkpoint needs several, and shares some.
Objects = Mapping[str, int]


@final
@dataclass(frozen=True, slots=True)
class KeepBudget(KeepPolicy):
    """Limits what all policies keep together to some bytes of storage; keeps nothing by itself."""

    nbytes: int

    def judge(self, candidates: Sequence[Candidate], now: datetime) -> Verdicts:
        """Say nothing: a budget has a say on what the others keep (``spend``)."""
        return {}


@dataclass(frozen=True, slots=True)
class Spent:
    """What a budget bought.

    Attributes:
        verdicts: On each checkpoint that was to choose among, by id.
        used_bytes: What all that stays takes, shared objects counted once.
    """

    verdicts: Mapping[str, Verdict]
    used_bytes: int


def spend(
    nbytes: int,
    forced: Iterable[str],
    wanted: Iterable[str],
    objects: Mapping[str, Objects],
) -> Spent:
    """Choose among checkpoints, in their order, as many as fit.

    Each one costs what it needs and no other before it does; one that does not fit is passed
    over, and a later one may still fit.

    Args:
        nbytes: The budget, in bytes.
        forced: Ids that stay whatever they take, and take it first.
        wanted: The other ids, most wanted first.
        objects: What each id needs. One that is missing stays: what it takes cannot be told.
    """
    there: dict[str, int] = {}
    for name in forced:
        there.update(objects.get(name, {}))
    used = sum(there.values())
    verdicts = {}
    for name in wanted:
        needs = objects.get(name)
        if needs is None:
            verdicts[name] = Verdict(True, "in doubt: what it takes cannot be told")
            continue
        new = {key: size for key, size in needs.items() if key not in there}
        cost = sum(new.values())
        if used + cost <= nbytes:
            there.update(new)
            used += cost
            verdicts[name] = Verdict(True, f"in the budget of {size_text(nbytes)}")
        else:
            left = size_text(max(nbytes - used, 0))
            why = f"over the budget of {size_text(nbytes)}: takes {size_text(cost)}, {left} left"
            verdicts[name] = Verdict(False, why)
    return Spent(verdicts, used)


def parse_size(size: object) -> int:
    """Return a number of bytes that is given as such or as text.

    Raises:
        UsageError: It is none, or not above zero.

    >>> parse_size("200GB"), parse_size("1.5 TiB"), parse_size("64k"), parse_size(10)
    (200000000000, 1649267441664, 64000, 10)
    """
    if not isinstance(size, str):
        return positive_int("keep.budget(size)", size)
    found = _SIZE.fullmatch(size.strip())
    unit = found["unit"].lower() if found is not None else ""
    if found is None or (found["binary"] and not unit):
        raise UsageError(
            f"keep.budget(size) takes bytes, or a text such as '200GB' or '1.5TiB', not {size!r}.",
            size=size,
        )
    power = _POWERS.index(unit) + 1 if unit else 0
    factor = (1024 if found["binary"] else 1000) ** power
    # Not as floats: 0.1 GB is 100,000,000 bytes.
    return positive_int("keep.budget(size)", int(Fraction(found["number"]) * factor))
