"""Ranks that save other steps: each would wait for the others until its patience ends.

Of two that differ, the one at the earlier step finds out: what the other has written is of a step
that comes later, and every rank writes its saves in order.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import final

from holdfast.distributed.ids import together_id
from holdfast.engine.job import SaveJob
from holdfast.format.names import RunKeys
from holdfast.store.contract import ObjectStore

# All parts of the run are listed; a rank that is only slow has come by then, mostly.
_FIRST_LOOK_S, _NEXT_LOOK_S = 3.0, 30.0
# What the id of a step would be is known; so far beyond this one it is looked for.
_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class Gone:
    """A rank that has gone on, and the step that it has saved."""

    rank: int
    step: int


@final
class Elsewhere:
    """Looks whether ranks have saved a later step which this rank has not.

    Args:
        store: Where the run is.
        run: Its name.
    """

    def __init__(self, store: ObjectStore, run: str) -> None:
        self._store = store
        self._keys = RunKeys(run)
        # What this rank has saved itself, in whatever order: after a rollback steps come again.
        self._own: set[str] = set()
        self._looking_for = ""
        self._next_s = 0.0

    def gone(
        self, job: SaveJob, ranks: Collection[int], later: Sequence[SaveJob] = ()
    ) -> Gone | None:
        """Return one of the ranks that has; None too while it is early to look.

        Args:
            job: What is waited for. It may have come since: look once more.
            ranks: Those that are waited for.
            later: The saves of this rank that wait behind it.
        """
        self._own.update(saved.id for saved in (job, *later))
        now_s = time.monotonic()
        if self._looking_for != job.id:
            self._looking_for, self._next_s = job.id, now_s + _FIRST_LOOK_S
        if now_s < self._next_s:
            return None
        there = self._written_by(ranks)
        found = self._first_after(job, there)
        # After the look: a store with many parts takes a while.
        self._next_s = time.monotonic() + _NEXT_LOOK_S
        return found

    def _written_by(self, ranks: Collection[int]) -> dict[str, int]:
        """Return the ids of saves that this rank has not, and a rank that has."""
        found = {}
        for info in self._store.list(self._keys.parts):
            checkpoint_id, _, number = info.key.removeprefix(self._keys.parts).rpartition("-")
            if number.isdecimal() and int(number) in ranks and checkpoint_id not in self._own:
                found[checkpoint_id] = int(number)
        return found

    def _first_after(self, job: SaveJob, there: dict[str, int]) -> Gone | None:
        if not there:
            return None
        for step in range(job.step + 1, job.step + 1 + _STEPS):
            rank = there.get(together_id(job.incarnation, step, 1))
            if rank is not None:
                return Gone(rank, step)
        return None
