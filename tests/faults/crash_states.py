"""Every state that a disk may be in when the power goes during a save, mounted and looked at.

What a file system sends to its disk is recorded: writes, and flushes between them. When the power
goes, all that was sent before the last flush is there; of what was sent since, any part may be.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import holdfast
from faults.disks import SIZES, CannotMake, Disk
from faults.effort import Effort
from faults.fuse_disk import Flush, Write, events, served_disk
from faults.outcomes import Ended, Found, How, Trial, outcome_of
from faults.scenario import NEW, Operation, look, look_at_contents, save, small_packs
from faults.threads import one_thread

NAME = "recorded crash states"
# Of so many writes between two flushes every choice is tried, of more some.
_ALL_CHOICES_OF = 8
_RANDOM_CHOICES = 40
# A store that was looked at is also used again, every so many states.
_USED_EVERY = 10
_BEFORE = frozenset({1, 2})
_OPERATION = Operation("save", lambda store, _: None, before=_BEFORE, adds=frozenset({NEW}))


@dataclass(frozen=True, slots=True)
class State:
    """What is on the disk: all up to a flush, and of the writes after it those chosen.

    Attributes:
        epoch: How many flushes there were.
        durable: The writes before the last of them.
        chosen: Those after it that have got to the disk, in their order.
        is_promised: Whether the save had returned before the next flush.
    """

    epoch: int
    durable: Sequence[Write]
    chosen: tuple[Write, ...]
    is_promised: bool


def states(log: bytes, returned_at: int, source: random.Random) -> Iterator[State]:
    """Yield the states that a power cut may leave.

    Args:
        log: What was recorded.
        returned_at: How long the log was when the save returned.
        source: Chooses where there is too much to choose from.
    """
    durable: list[Write] = []
    epochs = _epochs(log, returned_at)
    for number, (writes, is_promised) in enumerate(epochs):
        for chosen in choices(len(writes), source):
            picked = tuple(writes[i] for i in chosen)
            yield State(number, tuple(durable), picked, is_promised)
        durable += writes


def choices(count: int, source: random.Random) -> list[tuple[int, ...]]:
    """Return which of some writes get to the disk: all choices, or many.

    >>> choices(2, random.Random(0))
    [(), (0,), (1,), (0, 1)]
    """
    everything = range(count)
    if count <= _ALL_CHOICES_OF:
        return [c for size in range(count + 1) for c in combinations(everything, size)]
    found = {tuple(range(end)) for end in range(count + 1)}
    found |= {tuple(i for i in everything if i != out) for out in everything}
    found |= {(alone,) for alone in everything}
    for _ in range(_RANDOM_CHOICES):
        found.add(tuple(i for i in everything if source.random() < 0.5))
    return sorted(found)


def _epochs(log: bytes, returned_at: int) -> list[tuple[list[Write], bool]]:
    """Return the writes between flushes, each with whether the save had returned by their end."""
    found: list[tuple[list[Write], bool]] = [([], False)]
    before = len(list(events(log[:returned_at])))
    for number, event in enumerate(events(log), 1):
        if isinstance(event, Flush):
            found.append(([], number >= before))
        else:
            found[-1][0].append(event)
            if number >= before:
                found[-1] = (found[-1][0], True)
    return found


def record(folder: Path, kind: str) -> tuple[Path, bytes, int]:
    """Save a state of 20 leaves to a disk that is recorded.

    Returns:
        The disk as it was before, what was sent to it, and how much of that before it returned.
    """
    with served_disk(folder / f"recorded-{kind}", SIZES[kind]) as served:
        disk = Disk(served.device, folder / f"mount-{kind}", kind)
        subprocess.run([f"mkfs.{kind}", "-q", served.device], check=True, capture_output=True)
        disk.mount()
        store = disk.mount_point / "store"
        for step in sorted(_BEFORE):
            save(store, step)
        disk.unmount()
        base = folder / f"{kind}-base.img"
        _copy(served.image, base)
        # From the mount on: what it writes says that there is a journal to be replayed.
        served.record()
        disk.mount()
        save(store, NEW, tag="new")
        returned_at = len(served.recorded())
        disk.unmount()
        return base, served.stop_recording(), returned_at


def trials(folder: Path, effort: Effort) -> Iterator[Trial]:
    with small_packs():
        for kind in ("ext4", "xfs"):
            yield from _trials(folder, kind, effort)


def _trials(folder: Path, kind: str, effort: Effort) -> Iterator[Trial]:
    source = folder / f"source-{kind}"
    for step in sorted(_BEFORE):
        save(source, step)
    base, log, returned_at = record(folder, kind)
    found = list(states(log, returned_at, random.Random(5)))
    disk = Disk(folder / f"{kind}-state.img", folder / f"state-{kind}", kind)
    step = max(1, len(found) // effort.crash_states)
    with one_thread():
        for number, state in enumerate(found[::step]):
            _copy(base, disk.image)
            _apply(state, disk.image)
            where = f"{kind}, state {number * step} of {len(found)}"
            yield _trial(disk, state, source, where, number)


def _trial(disk: Disk, state: State, source: Path, where: str, number: int) -> Trial:
    ended = Ended(How.RETURNED if state.is_promised else How.STRUCK)
    try:
        disk.mount()
    except CannotMake as error:
        found = Found(lost=(f"it cannot be mounted: {error}",))
    else:
        try:
            store = disk.mount_point / "store"
            found = _look(ended, store, source, is_used=number % _USED_EVERY == 0)
        finally:
            disk.unmount()
    fault = f"each state after a power cut, {disk.kind}"
    where += f": flush {state.epoch}, {len(state.chosen)} writes after it"
    return Trial(fault, "save", outcome_of(ended, found), where, found.text)


def _look(ended: Ended, store: Path, source: Path, *, is_used: bool) -> Found:
    if is_used:
        return look(_OPERATION, ended, store, source)
    found = look_at_contents(store, _OPERATION.must(ended), _OPERATION.may)
    if not holdfast.Store(store).verify().ok:
        return Found(found.lost, found.differing, ("it does not verify",))
    return found


def _copy(image: Path, target: Path) -> None:
    subprocess.run(["cp", "--sparse=auto", image, target], check=True)


def _apply(state: State, image: Path) -> None:
    with open(image, "r+b", buffering=0) as file:
        for write in (*state.durable, *state.chosen):
            file.seek(write.offset)
            file.write(write.data)
