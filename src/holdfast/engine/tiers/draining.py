"""A far tier filled in the background: what it asks for is copied there from home, newest first.

What is to be copied stands in the home store (``records.drains``), so that whoever comes next goes
on with it. Of checkpoints that wait, the newest takes the place of the others: a far store that is
slower than its policy asks gets fewer of them, and home need not keep more than two for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from holdfast.engine.tiers.beside import open_beside
from holdfast.engine.tiers.mirror import Mirror, Sent, Stopped
from holdfast.engine.tiers.throttle import Throttle
from holdfast.errors import DataError, HoldfastError, RunBusy
from holdfast.format.commit import CommitRecord
from holdfast.history.retention import apply_retention, united
from holdfast.records import commits, drains
from holdfast.records.drains import Drain
from holdfast.security.authenticity import Authenticity
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")

_FIRST_PAUSE_S, _LAST_PAUSE_S = 1.0, 30.0
# For how long a store that cannot be reached is tried again once nobody trains any more.
_LINGER_S = 600.0

Record = Callable[..., None]


@dataclass(frozen=True, slots=True)
class FarGiven:
    """A far tier as the process that writes knows it.

    Attributes:
        name: What it is called.
        objects: Where it is.
        keep: What stays there, as texts; nothing means all.
        bandwidth_bytes_s: What may be sent per second.
        authenticity: Who signs there, and whom to believe.
    """

    name: str
    objects: ObjectStore
    keep: Sequence[str]
    bandwidth_bytes_s: int | None
    authenticity: Authenticity


@final
class Draining:
    """Copies what a far tier asks for, in a thread of its own.

    Args:
        home: Where the checkpoints are.
        run: The run.
        tier: Where they go.
        record: Writes an event into the run's journal.
    """

    def __init__(self, home: ObjectStore, run: str, tier: FarGiven, record: Record) -> None:
        self._home, self._run, self.tier, self._record = home, run, tier, record
        self._store: ObjectStore | None = None
        self._keep = united(tier.keep) if tier.keep else None
        self._changed = threading.Condition()
        self._is_wanted = True
        self._ends_when_idle = False
        self._must_stop = threading.Event()
        # What is being copied, which nothing newer takes the place of.
        self._current: str | None = None
        self._has_told = False
        self._is_busy_elsewhere = False
        self._n_failed = 0
        self._throttle = Throttle(tier.bandwidth_bytes_s, self._must_stop.wait)
        self._thread = threading.Thread(
            target=self._work, name=f"holdfast-drain-{tier.name}", daemon=True
        )

    def begin(self) -> None:
        """Begin, with what earlier processes have left to do."""
        self._thread.start()

    def announce(self, checkpoint_id: str) -> None:
        """Note that a checkpoint which is about to be committed shall be copied."""
        drains.note(self._home, self._run, Drain(self.tier.name, checkpoint_id))

    def withdraw(self, checkpoint_id: str) -> None:
        """Forget a checkpoint that was not committed after all."""
        drains.forget(self._home, self._run, [Drain(self.tier.name, checkpoint_id)])

    def committed(self, checkpoint_id: str) -> None:
        """Let a checkpoint that is there now be copied next, in the place of others that wait."""
        with self._changed:
            waiting = [
                drain
                for drain in self._noted()
                if drain.checkpoint_id not in (checkpoint_id, self._current)
            ]
            drains.forget(self._home, self._run, waiting)
            self._is_wanted = True
            self._changed.notify_all()

    def end_when_idle(self) -> None:
        """Leave once there is nothing to do."""
        with self._changed:
            self._ends_when_idle = True
            self._changed.notify_all()

    def wait(self, patience_s: float | None) -> bool:
        """Wait until it has left; say whether it has."""
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Leave off in the middle; whoever comes next goes on."""
        self._must_stop.set()
        self.end_when_idle()
        self._thread.join()

    def _noted(self) -> list[Drain]:
        return [d for d in drains.noted(self._home, self._run) if d.tier == self.tier.name]

    # --- the thread ---

    def _work(self) -> None:
        ended_s: float | None = None
        while not self._must_stop.is_set():
            try:
                has_more = self._copy_next()
                self._n_failed = 0
            except Stopped:
                return
            except HoldfastError as error:
                self._tell(error)
                has_more = True
            except Exception as error:
                _log.exception("Copying to the tier %r failed", self.tier.name)
                self._tell(error)
                has_more = True
            if self._ends_when_idle:
                ended_s = ended_s or time.monotonic()
                if not has_more or (self._n_failed and time.monotonic() - ended_s > _LINGER_S):
                    return
            self._pause(has_more=has_more)

    def _pause(self, *, has_more: bool) -> None:
        if not self._n_failed:
            with self._changed:
                self._changed.wait_for(lambda: has_more or self._is_wanted or self._ends_when_idle)
                self._is_wanted = False
            return
        # Somebody else who copies may be done any moment; a store that is down is down for long.
        pause_s = min(_FIRST_PAUSE_S * 2 ** (self._n_failed - 1), _LAST_PAUSE_S)
        self._must_stop.wait(_FIRST_PAUSE_S if self._is_busy_elsewhere else pause_s)

    def _copy_next(self) -> bool:
        """Copy the newest checkpoint that waits; say whether there may be more to do."""
        record = self._next()
        if record is None:
            return False
        began_s = time.monotonic()
        try:
            sent = self._mirror().copy(record)
        except DataError as error:
            if not self._is_there(record):
                # It was removed by name, or another process went on to a newer one.
                self.withdraw(record.id)
            elif _is_good(self._home, record):
                raise
            else:
                self._give_up(record, error)
        else:
            self._done(record, sent, time.monotonic() - began_s)
        finally:
            with self._changed:
                self._current = None
        return True

    def _next(self) -> CommitRecord | None:
        """Return the newest checkpoint that waits and is committed; forget those before it."""
        with self._changed:
            waiting = {drain.checkpoint_id: drain for drain in self._noted()}
            if not waiting:
                return None
            there = [r for r in commits.good_commits(self._home, self._run) if r.id in waiting]
            if not there:
                return None
            drains.forget(self._home, self._run, [waiting[r.id] for r in there[:-1]])
            self._current = there[-1].id
            return there[-1]

    def _mirror(self) -> Mirror:
        if self._store is None:
            self._store = open_beside(self.tier.objects, self._home, create=True)
        return Mirror(
            self._home,
            self._store,
            self._run,
            self.tier.authenticity,
            self._throttle,
            self._must_stop.is_set,
        )

    def _is_there(self, record: CommitRecord) -> bool:
        return commits.is_listed(self._home, self._run, record.seq, record.id)

    def _give_up(self, record: CommitRecord, error: DataError) -> None:
        self.withdraw(record.id)
        self._record(
            "drain-failed",
            tier=self.tier.name,
            step=record.step,
            id=record.id,
            kind=error.kind,
            message=error.message,
        )
        _log.warning(
            "%s@%s was not copied to the tier %r, since it is damaged here: %s",
            self._run,
            record.step,
            self.tier.name,
            error,
        )

    def _done(self, record: CommitRecord, sent: Sent, took_s: float) -> None:
        self.withdraw(record.id)
        self._record(
            "drained",
            tier=self.tier.name,
            step=record.step,
            id=record.id,
            bytes=sent.nbytes,
            took_s=took_s,
        )
        if self._has_told:
            self._has_told = False
            _log.warning("The tier %r can be written again.", self.tier.name)
        if self._keep is None or self._store is None:
            return
        try:
            apply_retention(
                self._store,
                self._run,
                self._keep,
                dry_run=False,
                strict=False,
                trust=self.tier.authenticity.trust,
            )
        except HoldfastError as error:
            _log.warning("Old checkpoints in the tier %r stay: %s", self.tier.name, error)

    def _tell(self, error: Exception) -> None:
        """Tell of trouble once, until it is over."""
        self._n_failed += 1
        self._is_busy_elsewhere = isinstance(error, RunBusy)
        if self._has_told or (self._is_busy_elsewhere and self._n_failed < 60):
            return
        self._has_told = True
        kind = error.kind if isinstance(error, HoldfastError) else type(error).__name__
        self._record("drain-failed", tier=self.tier.name, kind=kind, message=str(error))
        _log.warning(
            "Checkpoints do not come to the tier %r: %s It is tried again and again; training goes "
            "on, and checkpoints at home are safe.",
            self.tier.name,
            error,
        )


def _is_good(home: ObjectStore, record: CommitRecord) -> bool:
    from holdfast.history.verify import verify_records

    return all(check.ok for check in verify_records(home, [record]))
