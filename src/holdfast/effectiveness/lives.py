"""The journal of a run as values: one *life* for each process that trained it.

The only place that knows how events are written down. Lives are in the order in which they began
to write, never by the clock on the wall, which can be set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.engine import journal
from holdfast.engine.tally import Counted
from holdfast.errors import JournalMixed
from holdfast.store.contract import ObjectStore

Event = Mapping[str, Any]

DIED, VANISHED, RUNNING = "died", "vanished", "running"
_RESTORES = {"restored", "rolled-back"}
_OF_THE_PERSISTER = {"saved", "save-failed", "pruned", "freed", "trainer-died", "steps"}
# What goes on beside training, and after it.
_OF_TIERS = {"drained", "drain-failed"}
_NS = 1_000_000_000
# Wall clock and monotonic clock drift apart by less than this unless somebody sets the former.
_CLOCK_TOLERANCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Save:
    """A save that became durable; times in seconds, sizes in bytes."""

    step: int
    at_ns: int
    held_s: float
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


@dataclass(frozen=True, slots=True)
class Life:
    """What one process did for the run.

    Attributes:
        incarnation: Its id.
        boot: Names the boot of the machine that ``began_s`` and ``end_s`` count from, or None.
        began_s: When it began, on the monotonic clock.
        began_ns: The same on the wall clock.
        end_s: Its last sign of life: the end of its last step, or what it was seen to do later.
        end_ns: The same on the wall clock, as far as it goes with the monotonic one.
        how: How it ended: ``done``, ``signal NAME``, ``exception NAME``, ``died`` (its end was
            seen), ``vanished`` (nobody was left to see it), ``running`` (of the newest: its end is
            not in the journal).
        reached: The last step that it is known to have done; -1 if none.
        counted: What its steps took; of one that vanished, what is known.
        saves: Saves that became durable.
        restores: Restores, in order.
        freed: What retention gave back.
        n_failed: Saves that failed.
        n_skipped: Saves that were skipped because another was under way.
        n_pruned: Checkpoints that retention has removed.
        clock_jump_s: By how much the wall clock was set meanwhile; 0 if it was not.
        has_beginning: Whether its beginning is in the journal.
    """

    incarnation: str
    boot: str | None
    began_s: float
    began_ns: int
    end_s: float
    end_ns: int
    how: str
    reached: int
    counted: Counted
    saves: tuple[Save, ...] = ()
    restores: tuple[Restore, ...] = ()
    freed: tuple[Freed, ...] = ()
    n_failed: int = 0
    n_skipped: int = 0
    n_pruned: int = 0
    clock_jump_s: float = 0.0
    has_beginning: bool = True

    @property
    def alive_s(self) -> float:
        """For how long it lived."""
        return max(self.end_s - self.began_s, 0.0)

    @property
    def has_failed(self) -> bool:
        """Whether it ended as nobody wanted it to: not done, not told to leave."""
        is_error = self.how.startswith("exception") and self.how != "exception KeyboardInterrupt"
        return self.how in (DIED, VANISHED) or is_error


NOTHING_COUNTED = Counted(0, 0.0, 0, 0.0, 0.0, 0.0, 0, 0.0, {})


def read_lives(store: ObjectStore, run: str) -> list[Life]:
    """Return the lives of a run, oldest first.

    Raises:
        JournalMixed: The journal has events of another run.
    """
    return lives_of(journal.events(store, run), run)


def lives_of(events: Iterable[Event], run: str) -> list[Life]:
    """Return the lives that events tell of, in the order in which they began.

    Events that lack what all have, written by hand or by something else, are passed over.

    Raises:
        JournalMixed: Some are of another run.
    """
    by_incarnation: dict[str, list[Event]] = {}
    by_hand: dict[str, list[Event]] = {}
    for event in events:
        if _is_by_hand(event):
            by_hand.setdefault(next(reversed(by_incarnation), ""), []).append(event)
        if not _is_whole(event):
            continue
        if event["event"] == "started" and event.get("run") != run:
            raise JournalMixed(
                f"The journal of run {run!r} has events of run {event.get('run')!r}: the history "
                "of two runs cannot be told apart in it. No checkpoint is affected. Put the "
                "journal of each run back into its own folder.",
                run=run,
                found=event.get("run"),
            )
        if event["event"] not in _OF_TIERS:
            by_incarnation.setdefault(event["incarnation"], []).append(event)
    newest = next(reversed(by_incarnation), None)
    return [
        _with_by_hand(_life(name, of, is_last=name == newest), by_hand.get(name, ()))
        for name, of in by_incarnation.items()
    ]


def _is_by_hand(event: Event) -> bool:
    """Say whether an event tells of what a command has removed: no process that trains did it."""
    is_of_nobody = "incarnation" not in event and type(event.get("time_ns")) is int
    return is_of_nobody and event.get("event") in ("pruned", "freed")


def _with_by_hand(life: Life, events: Sequence[Event]) -> Life:
    """Return a life with what was removed by hand while it was the newest."""
    return replace(
        life,
        freed=(*life.freed, *_freed(events)),
        n_pruned=life.n_pruned + _count(events, "pruned"),
    )


def _is_whole(event: Event) -> bool:
    return (
        isinstance(event.get("event"), str)
        and isinstance(event.get("incarnation"), str)
        and type(event.get("time_ns")) is int
        and isinstance(event.get("mono_s"), int | float)
    )


def _life(incarnation: str, events: list[Event], *, is_last: bool) -> Life:
    started = next((e for e in events if e["event"] == "started"), None)
    first = started or min(events, key=lambda e: e["mono_s"])
    ends = [e for e in events if e["event"] in ("ended", "trainer-died")]
    told = max((e for e in events if "counted" in e), key=lambda e: e["mono_s"], default=None)
    counted = _counted(told["counted"]) if told is not None else NOTHING_COUNTED
    end_s = _end_s(events, counted)
    saves = tuple(_save(e) for e in events if e["event"] == "saved")
    reached = int(told.get("reached", told["step"])) if told is not None else -1
    return Life(
        incarnation=incarnation,
        boot=first.get("boot"),
        began_s=float(first["mono_s"]),
        began_ns=first["time_ns"],
        end_s=end_s,
        end_ns=_wall_ns(events, end_s),
        how=_how(ends, is_last=is_last),
        reached=max([reached, *(save.step for save in saves)]) if not ends else reached,
        counted=counted,
        saves=saves,
        restores=tuple(_restore(e) for e in events if e["event"] in _RESTORES),
        freed=_freed(events),
        n_failed=_count(events, "save-failed"),
        n_skipped=sum(_skipped(event) for event in events),
        n_pruned=_count(events, "pruned"),
        clock_jump_s=_clock_jump_s(events),
        has_beginning=started is not None,
    )


def _how(ends: list[Event], *, is_last: bool) -> str:
    if not ends:
        # The last one may be training still; whoever reads the report is told so.
        return RUNNING if is_last else VANISHED
    if ends[-1]["event"] == "trainer-died":
        return DIED
    return str(ends[-1].get("how", "done"))


def _end_s(events: list[Event], counted: Counted) -> float:
    """Return the last sign of life of the trainer itself, not of who outlived it."""
    own = [e["mono_s"] for e in events if e["event"] not in _OF_THE_PERSISTER]
    dead = any(e["event"] == "trainer-died" for e in events)
    if not dead:
        # While the trainer lives, whatever is written down shows it.
        own += [e["mono_s"] for e in events]
    first_s = min(e["mono_s"] for e in events)
    return float(max([first_s, counted.last_s, counted.ready_s, *own]))


def _wall_ns(events: list[Event], at_s: float) -> int:
    nearest = min(events, key=lambda e: abs(e["mono_s"] - at_s))
    return int(nearest["time_ns"] + (at_s - nearest["mono_s"]) * _NS)


def _clock_jump_s(events: list[Event]) -> float:
    offsets = [e["time_ns"] / _NS - e["mono_s"] for e in events]
    widest = max(offsets) - min(offsets)
    return widest if widest > _CLOCK_TOLERANCE_S else 0.0


def _freed(events: Sequence[Event]) -> tuple[Freed, ...]:
    return tuple(Freed(e["time_ns"], int(e["bytes"])) for e in events if e["event"] == "freed")


def _count(events: Sequence[Event], name: str) -> int:
    return sum(event["event"] == name for event in events)


def _skipped(event: Event) -> int:
    # Where saves were skipped again and again, one event tells of many.
    return int(event.get("count", 1)) if event["event"] == "save-skipped" else 0


def _save(event: Event) -> Save:
    return Save(
        step=int(event["step"]),
        at_ns=event["time_ns"],
        held_s=float(event["held_s"]),
        queued_s=float(event.get("queued_s", 0.0)),
        persist_s=float(event.get("persist_s", event["durable_s"])),
        durable_s=float(event["durable_s"]),
        state_bytes=int(event["state_bytes"]),
        stored_bytes=int(event["stored_bytes"]),
        reason=str(event.get("reason", "")),
    )


def _restore(event: Event) -> Restore:
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
        before=_counted(before["counted"]) if "counted" in before else NOTHING_COUNTED,
        read_bytes=sum(int(read) for read, _ in nbytes),
        wanted_bytes=sum(int(wanted) for _, wanted in nbytes),
    )


def _counted(facts: Mapping[str, Any]) -> Counted:
    lengths = {int(number): int(count) for number, count in facts["lengths"].items()}
    return Counted(**{**facts, "lengths": lengths})
