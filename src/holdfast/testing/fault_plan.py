"""Plans of faults: which call of a store goes wrong, and how. Frozen values, and pure decisions.

A plan that is repeated gives the same faults at the same calls, so that a test which prints it
says how to see its failure again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from holdfast.errors import UsageError

FaultKind = Literal[
    "no-space",
    "unavailable",
    "io-error",
    "lost-ack",
    "torn",
    "short",
    "delay",
    "late",
    "kill-before",
    "kill-after",
]

WRITES = ("put", "put_hint", "put_new", "append", "publish")
DELETIONS = ("delete", "delete_hint")
# Every call that changes what others can see.
EFFECTS = ("create", *WRITES, *DELETIONS, "clear_debris")
READS = ("get", "open", "read", "exists", "list", "folders")
CALLS = (*EFFECTS, *READS, "stage", "open_lock")

# Which calls a kind of fault can happen to.
APPLIES: Mapping[str, tuple[str, ...]] = {
    "no-space": ("create", *WRITES, "stage", "open_lock"),
    "unavailable": CALLS,
    "io-error": CALLS,
    "lost-ack": EFFECTS,
    "torn": (*WRITES, "delete"),
    "short": ("put", "put_hint", "put_new", "append", "stage", "get", "open"),
    "delay": CALLS,
    "late": (*WRITES, *DELETIONS),
    "kill-before": EFFECTS,
    "kill-after": EFFECTS,
}


@dataclass(frozen=True, slots=True, repr=False)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: ``no-space``, ``unavailable``, ``io-error``: an error, and nothing has happened.
            ``lost-ack``: it has happened, and the caller gets an error. ``torn``: half of it has
            happened, others see that, and the caller gets an error. ``short``: half of the bytes
            are taken, or given, and nothing is said but what ``Staged`` says. ``delay``: it takes
            ``delay_s``. ``late``: what was written or deleted is seen after ``calls`` more calls
            of the store. ``kill-before``, ``kill-after``: SIGKILL of this process.
        on: Pattern of the names of calls: those of ``ObjectStore``, and ``read`` of its readers.
        keys: Pattern of keys. A call with several matches if one of them does.
        at: The first of the calls that match, from 0, to go wrong.
        times: How many go wrong from there on; None: all.
        chance: How probable it is that one does. Below 1 it is a random one that goes wrong.
        delay_s: How long a delay is, in seconds.
        calls: For how many calls an effect is not seen.
    """

    kind: FaultKind
    on: str = "*"
    keys: str = "*"
    at: int = 0
    times: int | None = 1
    chance: float = 1.0
    delay_s: float = 0.001
    calls: int = 20

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise UsageError(f"{self.kind!r} is no kind of fault: {', '.join(APPLIES)}.")
        if not any(fnmatchcase(call, self.on) for call in APPLIES[self.kind]):
            calls = ", ".join(APPLIES[self.kind])
            raise UsageError(f"{self!r} would never happen: {self.kind!r} is for {calls}.")
        if not 0.0 <= self.chance <= 1.0:
            raise UsageError(f"chance={self.chance} is not from 0 to 1.")

    def __repr__(self) -> str:
        said = [repr(self.kind)]
        for one in fields(self)[1:]:
            value = getattr(self, one.name)
            if one.default is MISSING or value != one.default:
                said.append(f"{one.name}={value!r}")
        return f"Fault({', '.join(said)})"

    def concerns(self, call: str, keys: tuple[str, ...]) -> bool:
        """Say whether a call is one that this fault counts."""
        if call not in APPLIES[self.kind] or not fnmatchcase(call, self.on):
            return False
        return self.keys == "*" or any(fnmatchcase(key, self.keys) for key in keys)


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Some faults, and the seed of their chances."""

    faults: tuple[Fault, ...] = ()
    seed: int = 0

    def strikes(self, index: int, number: int, struck: int) -> bool:
        """Say whether a fault strikes.

        Args:
            index: Which fault.
            number: How many calls that it concerns came before, in this process.
            struck: How many of them it has struck.
        """
        fault = self.faults[index]
        if number < fault.at or (fault.times is not None and struck >= fault.times):
            return False
        # Of the number alone, not of what was drawn before: threads come in any order.
        return random.Random(f"{self.seed}/{index}/{number}").random() < fault.chance


def plan_of(*faults: Fault, seed: int = 0) -> FaultPlan:
    """Return the plan of some faults.

    >>> plan_of(Fault("no-space", on="publish", at=1), seed=7)
    FaultPlan(faults=(Fault('no-space', on='publish', at=1),), seed=7)
    """
    return FaultPlan(tuple(faults), seed)


def to_message(plan: FaultPlan) -> dict[str, Any]:
    """Return a plan as a dict of values of JSON."""
    faults = [{f.name: getattr(fault, f.name) for f in fields(fault)} for fault in plan.faults]
    return {"faults": faults, "seed": plan.seed}


def from_message(message: Mapping[str, Any]) -> FaultPlan:
    """Return the plan that the dict of ``to_message`` tells of."""
    return FaultPlan(tuple(Fault(**fault) for fault in message["faults"]), message["seed"])
