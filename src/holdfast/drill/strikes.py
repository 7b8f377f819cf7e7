"""The moments of a drill: pure choices from what the undisturbed run has shown."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.drill.checkpoint_files import Found, turn_of
from holdfast.drill.record import Life, Sighting
from holdfast.testing.effects import WRITES, Moment

_UNPREDICTABLE_S = 0.01


@dataclass(frozen=True, slots=True)
class Shown:
    """What an undisturbed run has shown.

    Attributes:
        life: How it went.
        seen: What was seen of it from outside.
        found: The checkpoints that it left behind.
    """

    life: Life
    seen: Sighting
    found: Found


@dataclass(frozen=True, slots=True)
class AtRow:
    """The process strikes itself at a step that was seen, or within a save."""

    kind: str
    row: int
    signal: signal.Signals
    delay_s: float
    everyone: bool


@dataclass(frozen=True, slots=True)
class AtSight:
    """It is struck from outside: after so many lines, after a time, or after so many writes."""

    signal: signal.Signals
    lines: int | None = None
    seconds: float | None = None
    writes: int | None = None


@dataclass(frozen=True, slots=True)
class AtEffect:
    """Everything is killed at an effect on the store: before it, within it or after it."""

    at: int
    kill: Moment
    name: str


Strike = AtRow | AtSight | AtEffect


def at_random(
    shown: Shown,
    chance: random.Random,
    number: signal.Signals,
    *,
    everyone: bool = True,
    hurry: int = 0,
    done: int = 0,
) -> Strike:
    """Return a random moment between the first checkpoint and the end.

    Args:
        shown: What the undisturbed run has shown.
        chance: Decides.
        number: The signal.
        everyone: Whether all processes get it.
        hurry: How often the end came first: the next moment is earlier.
        done: Steps that an earlier life has done already.
    """
    life, seen = shown.life, shown.seen
    n_steps, n_lines = len(life.trace.main), len(life.lines)
    if n_steps > 2:
        first = 0 if done else min(seen.first_rows, n_steps - 2)
        last = max(first, (n_steps - 2 - done) // (1 + hurry))
        row = chance.randint(first, last)
        delay_s = chance.random() * _UNPREDICTABLE_S
        # A process that stops or is asked to leave shall be where it was meant to be.
        if number != signal.SIGKILL:
            delay_s = 0.0
        return AtRow(life.trace.kind or "o", row, number, delay_s, everyone)
    if n_lines - seen.first_lines > 2:
        last = max(seen.first_lines + 1, (n_lines - 2) // (1 + hurry))
        return AtSight(number, lines=chance.randint(seen.first_lines + 1, last))
    last_s = max(seen.first_s, 0.9 * life.seconds / (1 + hurry))
    # It waits for a checkpoint in any case, which a machine less busy may have much earlier.
    return AtSight(number, seconds=chance.uniform(seen.first_s, last_s) / (1 + hurry))


def in_save(shown: Shown, chance: random.Random) -> Strike:
    """Return a moment within a save, not within the first one if there are more."""
    effects, saves = shown.seen.effects, shown.life.trace.saves
    writes = [n for n, name in enumerate(effects) if name in WRITES]
    commits = [n for n, name in enumerate(effects) if name in ("link", "rename")]
    if len(writes) > 2 and len(commits) > 2:
        # Within what is written, or right before it becomes visible.
        within = chance.random() < 0.5
        numbers = writes if within else commits
        # Not the last one, which another run may do without.
        at = chance.choice(numbers[len(numbers) // 3 : -1])
        return AtEffect(at, "within" if within else "before", effects[at])
    if saves:
        number = chance.randrange(_first_of_all([save.path for save in saves]), len(saves))
        took_s = saves[number].seconds or 0.01
        return AtRow("s", number, signal.SIGKILL, chance.random() * took_s + 1e-6, everyone=True)
    first = max(2, shown.seen.first_writes + 1)
    return AtSight(signal.SIGKILL, writes=chance.randint(first, max(first, shown.seen.n_writes)))


def _first_of_all(paths: Sequence[str]) -> int:
    """Return the first save before which each file that is saved again and again was saved once."""
    kinds = [turn_of(path) for path in paths]
    firsts = [kinds.index(kind) for kind in set(kinds) if kinds.count(kind) > 1]
    return min(max([0, *firsts]) + 1, len(paths) - 1)


def checkpoints_of(found: Found) -> list[str]:
    """Return patterns of paths, from the run's folder, of which one is there once it has saved.

    >>> checkpoints_of(Found(("work/ckpts",), {}))
    ['work/ckpts/runs/*/commits/*']
    """
    patterns = [os.path.join(store, "runs", "*", "commits", "*") for store in found.stores]
    for name in found.files:
        suffix = name[name.rfind(".") :]
        top = os.sep.join(name.split(os.sep)[:2]) if name.count(os.sep) > 1 else "work"
        patterns.append(os.path.join(top, "**", f"*{suffix}"))
    return sorted(set(patterns))


def words_of(strike: Strike, n_steps: int) -> str:
    """Return a strike in words."""
    if isinstance(strike, AtEffect):
        return f"SIGKILL {strike.kill} effect {strike.at} on the store ({strike.name})"
    name = strike.signal.name
    if isinstance(strike, AtRow):
        if strike.kind == "s":
            return f"{name} within call {strike.row} of torch.save"
        return f"{name} at step {strike.row} of {n_steps}"
    if strike.lines is not None:
        return f"{name} after {strike.lines} printed lines"
    if strike.writes is not None:
        return f"{name} as a checkpoint's file changed for the {strike.writes}. time"
    return f"{name} after {strike.seconds:.1f} s"
