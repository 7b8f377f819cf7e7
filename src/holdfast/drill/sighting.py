"""A run's folder looked at from outside, while a life goes on."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.drill import hook
from holdfast.drill.checkpoint_files import is_checkpoint, turn_of
from holdfast.drill.record import Sighting
from holdfast.drill.work_folder import RunFolder, Seen

_LOOK_S = 0.02
_REST = 10.0
_COMMITS = f"{os.sep}commits{os.sep}"
_PACKS = f"{os.sep}packs{os.sep}"
# What comes later than this, of a life's time, is nothing that a script goes on from.
_LATEST = 0.8


@dataclass(frozen=True, slots=True)
class _Moment:
    """How far a life had come."""

    rows: int = 0
    lines: int = 0
    seconds: float = 0.0
    writes: int = 0


class Watcher:
    """Looks at a run's folder from outside.

    Args:
        folder: The folder.
        told: What the life tells of itself.
        lines: Gives what it has printed.
    """

    def __init__(self, folder: RunFolder, told: Path, lines: Callable[[], Sequence[str]]) -> None:
        self._folder, self._told, self._lines = folder, told, lines
        self._look_again_s = 0.0
        self._began_s = time.monotonic()
        self._written: dict[str, Seen] = {}
        # By what checkpoints are called: when there was the first, and how often it changed.
        self._firsts: dict[str, _Moment] = {}
        self._changes: Counter[str] = Counter()
        self.n_writes = 0
        self.peak_bytes = 0
        self.has_checkpoint = False

    def look(self, *, force: bool = False) -> None:
        """Look, if it is some time ago."""
        now_s = time.monotonic()
        if not force and now_s < self._look_again_s:
            return
        self._note(dict(self._folder.files()), now_s)
        # Of many files a look takes its time, and shall not take the script's.
        done_s = time.monotonic()
        self._look_again_s = done_s + max(_LOOK_S, _REST * (done_s - now_s))

    def _note(self, files: Mapping[str, Seen], now_s: float) -> None:
        self.peak_bytes = max(self.peak_bytes, sum(seen.nbytes for seen in files.values()))
        written = {n: s for n, s in files.items() if is_checkpoint(n) or _is_of_store(n)}
        changed = [n for n, s in written.items() if self._written.get(n) != s]
        self.n_writes += len(changed)
        self._written |= written
        self._note_kinds({_kind_of(n) for n in changed if is_checkpoint(n) or _COMMITS in n}, now_s)
        # Of a store's files only a commit makes a checkpoint.
        self.has_checkpoint = any(is_checkpoint(n) or _COMMITS in n for n in written)

    def _note_kinds(self, kinds: set[str], now_s: float) -> None:
        self._changes.update(kinds)
        new = kinds - self._firsts.keys()
        if new:
            rows = len(hook.trace_of(self._told).main)
            now = _Moment(rows, len(self._lines()), now_s - self._began_s, self.n_writes)
            self._firsts |= dict.fromkeys(new, now)

    def kinds(self, *, again: bool = False) -> frozenset[str]:
        """Return what checkpoints were called, or only those that were saved again and again."""
        if not again:
            return frozenset(self._firsts)
        return frozenset(_usual(self._firsts, self._changes, time.monotonic() - self._began_s))

    def sighting(self, effects: tuple[str, ...]) -> Sighting:
        """Return what was seen."""
        first = _all_there(self._firsts, self._changes, time.monotonic() - self._began_s)
        return Sighting(
            first.rows,
            first.lines,
            first.seconds,
            self.n_writes,
            self.peak_bytes,
            effects,
            first.writes,
        )


def _all_there(
    firsts: Mapping[str, _Moment], changes: Mapping[str, int], lived_s: float
) -> _Moment:
    """Return when there was a checkpoint of each kind that is saved again and again."""
    usual = _usual(firsts, changes, lived_s)
    if usual:
        return max(usual.values(), key=lambda moment: moment.seconds)
    return min(firsts.values(), key=lambda moment: moment.seconds, default=_Moment())


def _usual(
    firsts: Mapping[str, _Moment], changes: Mapping[str, int], lived_s: float
) -> dict[str, _Moment]:
    return {
        kind: moment
        for kind, moment in firsts.items()
        if changes[kind] > 1 and moment.seconds <= _LATEST * lived_s
    }


def _kind_of(name: str) -> str:
    """Return what a checkpoint is called without its number; those of a store are one kind."""
    return turn_of(name.partition(_COMMITS)[0])


def _is_of_store(name: str) -> bool:
    return _COMMITS in name or _PACKS in name
