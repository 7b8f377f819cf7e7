"""A run's folder looked at from outside, while a life goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from holdfast.drill import hook
from holdfast.drill.checkpoint_files import is_checkpoint
from holdfast.drill.record import Sighting
from holdfast.drill.work_folder import RunFolder, Seen

_LOOK_S = 0.02
_REST = 10.0
_COMMITS = f"{os.sep}commits{os.sep}"
_PACKS = f"{os.sep}packs{os.sep}"


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
        self._first: tuple[int, int, float] | None = None
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
        self.n_writes += sum(self._written.get(n) != s for n, s in written.items())
        self._written |= written
        # Of a store's files only a commit makes a checkpoint.
        self.has_checkpoint = any(is_checkpoint(n) or _COMMITS in n for n in written)
        if self.has_checkpoint and self._first is None:
            rows = len(hook.trace_of(self._told).main)
            self._first = (rows, len(self._lines()), now_s - self._began_s)

    def sighting(self, effects: tuple[str, ...]) -> Sighting:
        """Return what was seen."""
        rows, lines, seconds = self._first or (0, 0, 0.0)
        return Sighting(rows, lines, seconds, self.n_writes, self.peak_bytes, effects)


def _is_of_store(name: str) -> bool:
    return _COMMITS in name or _PACKS in name
