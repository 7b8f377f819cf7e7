"""The faults of the drill: what each is, what it should prove, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from holdfast.errors import UsageError

FaultName = Literal[
    "kill",
    "kill-in-save",
    "sigterm",
    "damaged",
    "machine",
    "full-disk",
    "stop",
    "world",
    "kill-process",
    "kill-twice",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: Its name.
        words: What happens.
        cost: How many undisturbed runs it takes, about.
    """

    name: FaultName
    words: str
    cost: float


# In the order in which they are worth their time.
FAULTS: tuple[Fault, ...] = (
    Fault("kill", "SIGKILL of everything at a random step, as when a machine dies", 1.6),
    Fault("kill-in-save", "SIGKILL in the middle of a save", 1.6),
    Fault("damaged", "SIGKILL, and then the newest checkpoint is damaged", 1.9),
    Fault("sigterm", "SIGTERM, with time to leave", 1.6),
    Fault("machine", "SIGKILL, and on from another path, with another home folder", 1.6),
    Fault("full-disk", "the disk is full during the saves; there is space again later", 2.0),
    Fault("world", "SIGKILL, and on with another number of processes", 1.6),
    Fault("stop", "SIGSTOP for some seconds, then SIGCONT", 1.3),
    Fault("kill-process", "SIGKILL of the training process alone at a random step", 1.6),
    Fault("kill-twice", "SIGKILL at a random step, and once more after the resume", 1.9),
)
NAMES: tuple[str, ...] = tuple(fault.name for fault in FAULTS)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A fault that was not made, and why."""

    fault: Fault
    why: str


def chosen(names: Sequence[str], *, has_world: bool) -> tuple[list[Fault], list[Skipped]]:
    """Return the faults to make, and those that cannot be.

    Args:
        names: What was asked for; empty: all.
        has_world: Whether another number of processes was given.

    Raises:
        UsageError: There is no fault of a name.
    """
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise UsageError(
            f"There is no fault {', '.join(unknown)}. There are: {', '.join(NAMES)}. "
            "Nothing was run."
        )
    faults = [fault for fault in FAULTS if not names or fault.name in names]
    if has_world:
        return faults, []
    why = "the command has no {world}, or --world names one number only"
    left = [Skipped(fault, why) for fault in faults if fault.name == "world"]
    if left and "world" in names:
        raise UsageError(
            "The fault 'world' needs {world} in the command and two numbers: --world 2,1. "
            "Nothing was run."
        )
    return [fault for fault in faults if fault.name != "world"], left


def affordable(fault: Fault, run_s: float, left_s: float) -> bool:
    """Say whether a fault can be tried in the time that is left.

    >>> affordable(FAULTS[0], run_s=60.0, left_s=90.0)
    False
    """
    return fault.cost * run_s <= left_s
