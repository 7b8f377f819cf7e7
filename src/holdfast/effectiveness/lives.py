"""The journal of a run as values: one *life* for each process that trained it.

Lives are in the order in which they began to write, never by the clock on the wall, which can be
set.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from holdfast.effectiveness.events import (
    NOTHING_COUNTED,
    RESTORES,
    Event,
    Freed,
    Restore,
    Save,
    counted_of,
    freed_of,
    is_by_hand,
    is_sound,
    is_whole,
    restore_of,
    save_of,
)
from holdfast.engine.tally import Counted
from holdfast.errors import JournalMixed
from holdfast.records import journal
from holdfast.store.contract import ObjectStore

DIED, VANISHED, RUNNING = "died", "vanished", "running"
_OF_THE_PERSISTER = {"saved", "save-failed", "pruned", "freed", "trainer-died", "steps"}
# What goes on beside training, and after it.
_OF_TIERS = {"drained", "drain-failed"}
_NS = 1_000_000_000
# Wall clock and monotonic clock drift apart by less than this unless somebody sets the former.
_CLOCK_TOLERANCE_S = 2.0


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
        pace: By how much the number of the step grows from one call of ``step()`` to the next, as
            long as it has restored nothing: who trains may count something else than calls.
        n_unread: Events of it that say what cannot be, and are left out.
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
    pace: float = 1.0
    n_unread: int = 0

    @property
    def alive_s(self) -> float:
        """For how long it lived."""
        return max(self.end_s - self.began_s, 0.0)

    @property
    def has_failed(self) -> bool:
        """Whether it ended as nobody wanted it to: not done, not told to leave."""
        is_error = self.how.startswith("exception") and self.how != "exception KeyboardInterrupt"
        return self.how in (DIED, VANISHED) or is_error


def read_lives(store: ObjectStore, run: str) -> list[Life]:
    """Return the lives of a run, oldest first.

    Raises:
        JournalMixed: The journal has events of another run.
    """
    return lives_of(journal.events(store, run), run)


def lives_of(events: Iterable[Event], run: str) -> list[Life]:
    """Return the lives that events tell of, in the order in which they began.

    Events that lack what all have, written by hand or by something else, are passed over; of those
    that say what cannot be is told how many there are. One that is there twice counts once.

    Raises:
        JournalMixed: Some are of another run.
    """
    by_incarnation: dict[str, list[Event]] = {}
    by_hand: dict[str, list[Event]] = {}
    n_unread: Counter[str] = Counter()
    seen: set[str] = set()
    for event in events:
        said = json.dumps(event, sort_keys=True, default=str)
        if said in seen:
            continue  # Of two copies of a journal that somebody has put together.
        seen.add(said)
        if is_by_hand(event):
            by_hand.setdefault(next(reversed(by_incarnation), ""), []).append(event)
        if not is_whole(event):
            continue
        if not is_sound(event):
            n_unread[event["incarnation"]] += 1
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
        replace(
            _with_by_hand(_life(name, of, is_last=name == newest), by_hand.get(name, ())),
            n_unread=n_unread[name],
        )
        for name, of in by_incarnation.items()
    ]


def _with_by_hand(life: Life, events: Sequence[Event]) -> Life:
    """Return a life with what was removed by hand while it was the newest."""
    return replace(
        life,
        freed=(*life.freed, *_freed(events)),
        n_pruned=life.n_pruned + _count(events, "pruned"),
    )


def _life(incarnation: str, events: list[Event], *, is_last: bool) -> Life:
    started = next((e for e in events if e["event"] == "started"), None)
    first = started or min(events, key=lambda e: e["mono_s"])
    ends = [e for e in events if e["event"] in ("ended", "trainer-died")]
    told = max((e for e in events if "counted" in e), key=lambda e: e["mono_s"], default=None)
    counted = counted_of(told["counted"]) if told is not None else NOTHING_COUNTED
    end_s = _end_s(events, counted)
    saves = tuple(save_of(e) for e in events if e["event"] == "saved")
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
        restores=tuple(restore_of(e) for e in events if e["event"] in RESTORES),
        freed=_freed(events),
        n_failed=_count(events, "save-failed"),
        n_skipped=sum(_skipped(event) for event in events),
        n_pruned=_count(events, "pruned"),
        clock_jump_s=_clock_jump_s(events),
        has_beginning=started is not None,
        pace=_pace(events),
    )


def _pace(events: Sequence[Event]) -> float:
    """Return by how much steps grow with each call, from what was counted before a restore."""
    told: list[tuple[int, int]] = []
    for event in sorted(events, key=lambda e: e["mono_s"]):
        at = (event.get("before") or {}) if event["event"] in RESTORES else event
        if "counted" in at:
            counted = counted_of(at["counted"])
            told.append((counted.n_quiet + counted.n_busy, int(at.get("reached", at["step"]))))
        if event["event"] in RESTORES:
            break
    told = [(calls, step) for calls, step in told if calls]
    if not told or told[-1][0] == told[0][0]:
        return 1.0
    return max((told[-1][1] - told[0][1]) / (told[-1][0] - told[0][0]), 1.0)


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
    return tuple(freed_of(e) for e in events if e["event"] == "freed")


def _count(events: Sequence[Event], name: str) -> int:
    return sum(event["event"] == name for event in events)


def _skipped(event: Event) -> int:
    # Where saves were skipped again and again, one event tells of many.
    return int(event.get("count", 1)) if event["event"] == "save-skipped" else 0
