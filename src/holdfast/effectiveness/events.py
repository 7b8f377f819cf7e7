"""Single events of a journal as values, and which of them can be believed.

The only place that knows how events are written down.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from holdfast.engine.tally import Counted

Event = Mapping[str, Any]

RESTORES = {"restored", "rolled-back"}
NOTHING_COUNTED = Counted(0, 0.0, 0, 0.0, 0.0, 0.0, 0, 0.0, {})


@dataclass(frozen=True, slots=True)
class Save:
    """A save that became durable; times in seconds, sizes in bytes."""

    step: int
    at_ns: int
    held_s: float
    snapshot_s: float
    queued_s: float
    persist_s: float
    durable_s: float
    state_bytes: int
    stored_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Restore:
    """A restore: the step that training went on from, and where the process was before.

    What was read of the store, and for how much of the state, is that of all ranks together; 0
    where an older version did not say.
    """

    step: int
    at_ns: int
    took_s: float
    state_bytes: int
    reached: int
    before: Counted
    read_bytes: int = 0
    wanted_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Freed:
    """Bytes that retention has given back."""

    at_ns: int
    nbytes: int


def is_by_hand(event: Event) -> bool:
    """Say whether an event tells of what a command has removed: no process that trains did it."""
    is_of_nobody = "incarnation" not in event and type(event.get("time_ns")) is int
    return is_of_nobody and event.get("event") in ("pruned", "freed")


def is_whole(event: Event) -> bool:
    """Say whether an event has what all have that a process has written."""
    return (
        isinstance(event.get("event"), str)
        and isinstance(event.get("incarnation"), str)
        and type(event.get("time_ns")) is int
        and isinstance(event.get("mono_s"), int | float)
    )


def is_sound(event: Event) -> bool:
    """Say whether all that is made from an event is there, and is what it can be.

    A journal is a file of text that people and disks can change; a number that is none would be in
    every sum.
    """
    try:
        return all(math.isfinite(n) and n >= -1 for n in _numbers(event))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return False


def _numbers(event: Event) -> Iterator[float]:
    """Yield the numbers that are made from an event; steps are -1 or more, all others 0 or more."""
    name = event["event"]
    made: list[Save | Restore | Freed | Counted] = []
    if name == "saved":
        made.append(save_of(event))
    elif name in RESTORES:
        made += [restore_of(event), restore_of(event).before]
    elif name == "freed":
        made.append(freed_of(event))
    if "counted" in event:
        made.append(counted_of(event["counted"]))
        yield int(event["reached"] if "reached" in event else event["step"])
    for value in made:
        for field in fields(value):
            number = getattr(value, field.name)
            if field.name in ("step", "reached"):
                yield number
            elif not isinstance(number, str | dict | Counted):
                # A number here, whatever its type says: a journal may say anything.
                yield number if number >= 0 else math.nan


def freed_of(event: Event) -> Freed:
    """Return what an event says was given back."""
    return Freed(event["time_ns"], int(event["bytes"]))


def save_of(event: Event) -> Save:
    """Return a save that an event tells of."""
    return Save(
        step=int(event["step"]),
        at_ns=event["time_ns"],
        held_s=float(event["held_s"]),
        # What an older version did not say, the loop was held for.
        snapshot_s=float(event.get("snapshot_s", event["held_s"])),
        queued_s=float(event.get("queued_s", 0.0)),
        persist_s=float(event.get("persist_s", event["durable_s"])),
        durable_s=float(event["durable_s"]),
        state_bytes=int(event["state_bytes"]),
        stored_bytes=int(event["stored_bytes"]),
        reason=str(event.get("reason", "")),
    )


def restore_of(event: Event) -> Restore:
    """Return a restore that an event tells of."""
    before = event.get("before") or {}
    nbytes = event.get("bytes_of_ranks") or [
        (event.get("read_bytes", 0), event.get("wanted_bytes", 0))
    ]
    return Restore(
        step=int(event["step"]),
        at_ns=event["time_ns"],
        took_s=float(event.get("took_s", 0.0)),
        state_bytes=int(event.get("state_bytes", 0)),
        reached=int(before.get("step", -1)),
        before=counted_of(before["counted"]) if "counted" in before else NOTHING_COUNTED,
        read_bytes=sum(int(read) for read, _ in nbytes),
        wanted_bytes=sum(int(wanted) for _, wanted in nbytes),
    )


def counted_of(facts: Mapping[str, Any]) -> Counted:
    """Return what was counted of steps."""
    lengths = {int(number): int(count) for number, count in facts["lengths"].items()}
    return Counted(**{**facts, "lengths": lengths})
