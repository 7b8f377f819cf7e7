"""Rules of retention that look at the clock and at ages; a clock that was set back costs nothing.

Ages are counted back from the newest checkpoint, not from the clock on the wall: a run that paused
for a month has as much left afterwards as before. What seems to be from the future, because the
clock was set back after it, has no age yet, and windows begin anew where the clock went back. What
was saved while the clock was behind is no older than what was saved before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import final

from holdfast.policy.candidate import Candidate
from holdfast.policy.checks import counted, exactly_one, positive_int, positive_number
from holdfast.policy.keep_policy import KeepPolicy, Verdict, Verdicts
from holdfast.policy.keep_rules import firsts

SECONDS = {"hours": 3600.0, "days": 86400.0}
_BACK = "in doubt: the clock was set back after it was saved"
_BEHIND = "in doubt: the clock was behind when it was saved"


@dataclass(frozen=True, slots=True)
class Age:
    """How long before the newest checkpoint: an amount of hours, days or steps."""

    amount: float
    unit: str

    @property
    def text(self) -> str:
        """In words.

        >>> Age(24, "hours").text, Age(1, "days").text
        ('24 hours', '1 day')
        """
        unit = self.unit.removesuffix("s") if self.amount == 1 else self.unit
        return f"{self.amount:.12g} {unit}"

    def of(self, candidate: Candidate, newest: Candidate, now: datetime) -> float:
        """Return the age of a checkpoint, in this unit; below 0 if it seems to be yet to come."""
        if self.unit == "steps":
            return newest.step - candidate.step
        return (now - candidate.created) / timedelta(seconds=SECONDS[self.unit])


def checked_age(what: str, *, hours: object, days: object, steps: object) -> Age:
    """Return the only amount that was given.

    Raises:
        UsageError: None or several are given, or the amount is not above zero.
    """
    unit, amount = exactly_one(what, hours=hours, days=days, steps=steps)
    name = f"{what}({unit}=…)"
    if unit == "steps":
        return Age(positive_int(name, amount), unit)
    return Age(positive_number(name, amount), unit)


@final
@dataclass(frozen=True, slots=True)
class KeepWithin(KeepPolicy):
    """Keeps what is at most so much older than the newest checkpoint."""

    age: Age

    def judge(self, candidates: Sequence[Candidate], now: datetime) -> Verdicts:
        """Keep the young ones, and those that are not known to be older than one of them."""
        verdicts = {c.id: self._judged(c, candidates[-1], now) for c in candidates}
        for name, before in _behind(candidates, self.age).items():
            if verdicts[before.id].stays and not verdicts[name].stays:
                verdicts[name] = Verdict(True, _BEHIND)
        return verdicts

    def _judged(self, candidate: Candidate, newest: Candidate, now: datetime) -> Verdict:
        if self.age.unit != "steps" and candidate.created > newest.created:
            return Verdict(True, _BACK)
        if self.age.of(candidate, newest, now) <= self.age.amount:
            return Verdict(True, f"within {self.age.text}")
        return Verdict(False, f"older than {self.age.text}")


@final
@dataclass(frozen=True, slots=True)
class KeepYoung(KeepPolicy):
    """Applies another rule to what is at most so much older than the newest checkpoint.

    Of what was saved while the clock was behind, only one before it tells that it is young: that
    one stays as long.
    """

    policy: KeepPolicy
    age: Age

    def judge(self, candidates: Sequence[Candidate], now: datetime) -> Verdicts:
        """Let the other rule judge the young ones; keep no others but for doubt."""
        sure = {c.id for c in candidates if self._is_young(c, candidates[-1], now)}
        behind = {
            name: before
            for name, before in _behind(candidates, self.age).items()
            if before.id in sure and name not in sure
        }
        judged = self.policy.judge([c for c in candidates if c.id in sure or c.id in behind], now)
        told = {
            name: Verdict(v.stays, f"{v.why}, within {self.age.text}" if v.stays else v.why)
            for name, v in judged.items()
        }
        for name, before in behind.items():
            if told[name].stays and not told[before.id].stays:
                told[before.id] = Verdict(True, _BACK)
        old = Verdict(False, f"older than {self.age.text}")
        return told | {c.id: old for c in candidates if c.id not in told}

    def _is_young(self, candidate: Candidate, newest: Candidate, now: datetime) -> bool:
        return self.age.of(candidate, newest, now) <= self.age.amount


@final
@dataclass(frozen=True, slots=True)
class KeepEveryTime(KeepPolicy):
    """Keeps the first checkpoint of each window of time, counted from 1970-01-01 in UTC.

    Where the clock was set back, the last one before and the first one after it stay too: how much
    time lies between them cannot be told, and with both there the next look finds the same.
    """

    amount: float
    unit: str

    def judge(self, candidates: Sequence[Candidate], now: datetime) -> Verdicts:
        """Keep the one that was saved first in each window."""
        window_s = self.amount * SECONDS[self.unit]
        eras, lasts = _eras(candidates)
        verdicts = firsts(
            candidates,
            lambda c: (eras[c.id], math.floor(c.created.timestamp() / window_s)),
            counted(self.amount, self.unit),
        )
        doubt = Verdict(True, _BACK)
        return {**verdicts, **{name: doubt for name in lasts if not verdicts[name].stays}}


def _eras(candidates: Sequence[Candidate]) -> tuple[dict[str, int], list[str]]:
    """Return which era each one is of, a new one where the clock went back, and the last of each.

    The last era has no end yet.
    """
    eras: dict[str, int] = {}
    lasts: list[str] = []
    before: Candidate | None = None
    for candidate in candidates:
        if before is not None and candidate.created < before.created:
            lasts.append(before.id)
        eras[candidate.id] = len(lasts)
        before = candidate
    return eras, lasts


def _behind(candidates: Sequence[Candidate], age: Age) -> dict[str, Candidate]:
    """Return what was saved while the clock was behind, and the latest that was saved before it.

    It cannot be older than that one. What seems to be yet to come proves nothing.
    """
    found: dict[str, Candidate] = {}
    if age.unit == "steps":
        return found
    latest: Candidate | None = None
    for candidate in candidates:
        if candidate.created > candidates[-1].created:
            continue
        if latest is not None and candidate.created < latest.created:
            found[candidate.id] = latest
        else:
            latest = candidate
    return found
