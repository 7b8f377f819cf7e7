"""What the persister writes into the journal about the process that trains.

One process that trains is an *incarnation* of the run; every event names its own. A power cut may
take the end of it: what the steps took is written down now and then, not at every step.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.engine.heartbeat import Heartbeat
from holdfast.format.commit import CommitRecord
from holdfast.records import journal
from holdfast.records.journal import Removal
from holdfast.store.contract import ObjectStore

# A journal of two months then has some megabytes.
STEPS_EVERY_S = 300.0
# Saves may be skipped at every step; then they are counted, and written down together.
SKIPPED_EVERY_S = 60.0
# Events between two looks at how long the journal is.
SHORTEN_EVERY = 1000
SKIPPED = "save-skipped"
_HOME = "home"


class Chronicle:
    """The events of one incarnation.

    Args:
        store: Where the run is.
        run: Its name.
        incarnation: Id of the process that trains.
        heartbeat: Of that process.
    """

    def __init__(self, store: ObjectStore, run: str, incarnation: str, heartbeat: Heartbeat):
        self._store = store
        self._run = run
        self._incarnation = incarnation
        self._heartbeat = heartbeat
        # Saves and what tidies up after them write it, and one of them shortens it.
        self._lock = threading.Lock()
        self._steps_noted_s = time.monotonic()
        self._step_noted = heartbeat.step
        self._n_recorded = 0
        self._n_skipped = 0
        self._skipped: dict[str, object] = {}
        self._skipped_noted_s = -math.inf

    def record(self, event: str, /, **facts: object) -> None:
        """Write down an event of this incarnation."""
        with self._lock:
            journal.record(self._store, self._run, event, incarnation=self._incarnation, **facts)
            self._n_recorded += 1
            if self._n_recorded % SHORTEN_EVERY == 0:
                journal.shorten(self._store, self._run)

    def record_removals(self, removals: Iterable[Removal]) -> None:
        """Write down, durably, what is about to be removed."""
        with self._lock:
            journal.record_removals(self._store, self._run, removals, incarnation=self._incarnation)

    def record_saved(
        self,
        saved: CommitRecord,
        times: Mapping[str, float],
        not_finite_in: Sequence[str],
        tier: str = _HOME,
    ) -> None:
        """Write down that a checkpoint was committed.

        Args:
            saved: Its record.
            times: What each stage of the save took, in seconds, by name.
            not_finite_in: Paths of leaves that have values that are not finite.
            tier: Where it is; what is in memory only takes nothing of the store.
        """
        is_home = tier == _HOME
        self.record(
            "saved",
            step=saved.step,
            id=saved.id,
            seq=saved.seq,
            **times,
            state_bytes=saved.state_bytes,
            stored_bytes=saved.stored_bytes if is_home else 0,
            reason=saved.reason,
            signed_by=[signature.key_id for signature in saved.signatures],
            # The machine may be gone before they are written down by themselves.
            **self._reached(),
            **({} if is_home else {"tier": tier}),
        )
        if saved.not_finite:
            self.record(
                "not-finite",
                step=saved.step,
                id=saved.id,
                elements=saved.not_finite,
                leaves=not_finite_in,
            )

    def shorten(self) -> None:
        """Put a journal that has grown long away."""
        with self._lock:
            journal.shorten(self._store, self._run)

    def note(self, event: str, facts: Mapping[str, object]) -> None:
        """Write down what the trainer tells of; of saves that are skipped, how many they were."""
        if event != SKIPPED:
            self.record(event, **facts)
            return
        self._n_skipped += 1
        self._skipped = dict(facts)
        if time.monotonic() - self._skipped_noted_s >= SKIPPED_EVERY_S:
            self._note_skipped()

    def _note_skipped(self) -> None:
        if self._n_skipped:
            self._skipped_noted_s = time.monotonic()
            count, self._n_skipped = self._n_skipped, 0
            self.record(SKIPPED, **self._skipped, count=count)

    def note_steps(self) -> None:
        """Write down what the steps took so far, if that was last done long ago."""
        if time.monotonic() - self._skipped_noted_s >= SKIPPED_EVERY_S:
            self._note_skipped()
        if time.monotonic() - self._steps_noted_s < STEPS_EVERY_S:
            return
        self._steps_noted_s = time.monotonic()
        if self._heartbeat.step != self._step_noted:
            self._step_noted = self._heartbeat.step
            self.record("steps", **progress(self._heartbeat))

    def _reached(self) -> dict[str, Any]:
        """Return, for an event of another step, which one was reached and what steps took."""
        now = progress(self._heartbeat)
        return {"reached": now["step"], "counted": now["counted"]}

    def record_last(self, event: str, /, **facts: object) -> None:
        """Write down that training is over, and what its steps took."""
        self._note_skipped()
        self.record(event, **facts, **progress(self._heartbeat))


def progress(heartbeat: Heartbeat) -> dict[str, Any]:
    """Return the step that was reached, and what the steps took, for an event."""
    counted = dataclasses.asdict(heartbeat.tally.read())
    return {"step": heartbeat.step, "counted": counted}
