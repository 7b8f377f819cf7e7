"""What the persister does after a commit and nobody waits for: retention, and the catalog.

A thread of its own, so that the next save does not queue behind it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

from holdfast.engine.chronicle import Chronicle
from holdfast.engine.wall_clock import WallClock
from holdfast.errors import HoldfastError
from holdfast.history import catalog
from holdfast.history.retention import PruneReport, apply_retention, united
from holdfast.history.sweep import sweep
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.security.trust_policy import TrustPolicy
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")

# A save that may need the room which a retention under way is about to give back waits for it.
_ROOMY = 2


@final
class Housekeeping:
    """Tidies a run up after its saves.

    Args:
        store: Where the run is.
        run: Its name.
        keep: What to keep, as texts; nothing means all.
        chronicle: Is told what was removed.
        trust: Whom to believe.
    """

    def __init__(
        self,
        store: ObjectStore,
        run: str,
        keep: Sequence[str],
        chronicle: Chronicle,
        trust: TrustPolicy | None = None,
    ) -> None:
        self._store, self._run = store, run
        self._policy = united(keep) if keep else None
        self._chronicle = chronicle
        self._trust = trust
        self._clock = WallClock()
        self._changed = threading.Condition()
        self._wanted: Callable[[], None] | None = None
        self._is_working = False
        self._is_closed = False
        # What a save under way had pinned when the last removal was swept, or where that failed.
        self._may_be_left = False
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="holdfast-tidy", daemon=True)
        self._thread.start()

    def tidy(self, only_of: str | None) -> None:
        """Ask for the run to be tidied up; returns at once.

        Args:
            only_of: Remove only what that incarnation has saved.
        """
        with self._changed:
            self._wanted = lambda: self._tidy(only_of)
            self._changed.notify_all()

    def make_room(self, nbytes: int) -> None:
        """Wait for a removal under way if a save of so many bytes may need its room.

        And where saves come faster than they are tidied up after: retention is behind by one save
        at most, so that what is there is bounded.
        """
        with self._changed:
            # What was asked for has at least begun, so that what was asked for before it is done.
            self._changed.wait_for(lambda: self._wanted is None)
        if self._is_idle():
            return
        free = self._store.free_bytes()
        if free is not None and free < _ROOMY * nbytes:
            self.wait()

    def wait(self) -> None:
        """Wait until all that was asked for is done."""
        with self._changed:
            self._changed.wait_for(self._is_idle)

    def close(self) -> None:
        """Do what was asked for, and end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _is_idle(self) -> bool:
        return self._wanted is None and not self._is_working

    def _work(self) -> None:
        while True:
            with self._changed:
                self._is_working = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._wanted is not None or self._is_closed)
                task, self._wanted = self._wanted, None
                if task is None:
                    return
                self._is_working = True
            try:
                task()
            except HoldfastError as error:
                # The checkpoints are safe; old ones stay a little longer.
                _log.warning("Old checkpoints of %r were not removed: %s", self._run, error)
            except Exception:
                _log.exception("Old checkpoints of %r were not removed", self._run)

    def _tidy(self, only_of: str | None) -> None:
        try:
            if self._policy is not None:
                self._tell(self._retain(self._policy, only_of))
        finally:
            catalog.note(self._store, self._run)

    def _retain(self, policy: KeepPolicy, only_of: str | None) -> PruneReport:
        may_be_left, self._may_be_left = self._may_be_left, True
        report = apply_retention(
            self._store,
            self._run,
            policy,
            dry_run=False,
            strict=False,
            only_of=only_of,
            trust=self._trust,
            ahead_s=self._clock.ahead_s(),
            write_down=self._chronicle.record_removals,
        )
        if not report.removed:
            if may_be_left:
                report = replace(report, freed_bytes=sweep(self._store, self._run))
            self._may_be_left = False
        return report

    def _tell(self, report: PruneReport) -> None:
        if report.removed or report.freed_bytes:
            n = len(report.removed)
            self._chronicle.record("freed", bytes=report.freed_bytes, checkpoints=n)
            _log.info(
                "%d checkpoint(s) of %r removed, %d bytes freed", n, self._run, report.freed_bytes
            )
        doubts = {
            why for _, reasons in report.kept for why in reasons if why.startswith("in doubt")
        }
        if report.over_budget_bytes:
            doubts.add("over its budget: what is the newest or has a tag always stays")
        for doubt in sorted(doubts - self._told):
            # Once: it may be so at every save for days.
            self._told.add(doubt)
            _log.warning("Retention of run %r: checkpoints stay %s.", self._run, doubt)
