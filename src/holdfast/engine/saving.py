"""The saves of a run: from the wish for one to a snapshot that is on its way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast import frameworks
from holdfast.engine.ancestry import Ancestry
from holdfast.engine.beginning import Beginning
from holdfast.engine.boundary import Boundary, tree_of
from holdfast.engine.due import Due
from holdfast.engine.handle import SaveHandle
from holdfast.engine.ledger import Ledger
from holdfast.engine.metrics_feed import MetricsFeed
from holdfast.engine.new_job import CheckFinite, looked_at
from holdfast.engine.saver import Saver
from holdfast.engine.schedule import Schedule
from holdfast.state import environment
from holdfast.state.casts import Casts
from holdfast.state.flags import require_flags
from holdfast.state.numbers import clean_metrics
from holdfast.state.paths import Patterns

_log = logging.getLogger("holdfast")


@dataclass(frozen=True, slots=True)
class WhatIsSaved:
    """The state of a run, and which part of it goes into checkpoints."""

    state: dict[str, Any]
    rng: bool
    only: Patterns
    skip: Patterns
    check_finite: CheckFinite = False
    casts: Casts = field(default_factory=Casts)

    def __post_init__(self) -> None:
        require_flags(rng=self.rng)
        looked_at(self.check_finite)


class Saving:
    """Saves what is saved, and tells all that want to know.

    Args:
        what: The state and which part of it.
        may_skip: A save that only the policy asks for is left out while another is under way.
        turn: Held while a save is begun; two threads that save at the same time take turns.
        saver: Takes the snapshots.
        ledger: Keeps the handles.
        schedule: Is told when a save was begun.
        beginning: Knows how the run began.
        feed: Has the metrics of steps.
        ancestry: Knows where the state comes from.
    """

    def __init__(
        self,
        what: WhatIsSaved,
        *,
        may_skip: bool,
        turn: threading.RLock,
        saver: Saver,
        ledger: Ledger,
        schedule: Schedule,
        beginning: Beginning,
        feed: MetricsFeed,
        ancestry: Ancestry,
    ) -> None:
        self._what = what
        self._may_skip = may_skip
        self._turn = turn
        self._saver = saver
        self._ledger = ledger
        self._schedule = schedule
        self._beginning = beginning
        self._feed = feed
        self._ancestry = ancestry
        self._has_stepped = False

    def save(
        self,
        step: int,
        metrics: Mapping[str, Any] | None,
        due: Due,
        *,
        tag: str | None = None,
        must: bool = True,
        started_s: float | None = None,
        boundary: Boundary | None = None,
    ) -> SaveHandle | None:
        """Freeze the state and start making it durable.

        Args:
            step: Name of the checkpoint.
            metrics: Numbers that go with it, besides those that were logged of that step.
            due: Why it is saved.
            tag: A name to give it.
            must: It is not left out, whatever is under way, and goes to every tier.
            started_s: When the loop began to be held, on the monotonic clock; None: now.
            boundary: An earlier moment at which the state is still; None: it is saved as it is.

        Returns:
            The handle of the save, or None if it was left out.
        """
        started_s = time.monotonic() if started_s is None else started_s
        with self._turn:
            slot = self._saver.slot_for(step, may_skip=self._may_skip and not must)
            if slot is None:
                self._saver.client.note("save-skipped", step=step, reason=due.reason)
                return None
            frameworks.activate()
            self._beginning.warn()
            self._feed.flush()
            tiers = self._schedule.destinations(due, is_for_all=must)
            handle = self._saver.save(
                lambda: tree_of(self._what.state, boundary, rng=self._what.rng),
                step,
                only=self._what.only,
                skip=self._what.skip,
                casts=self._what.casts,
                check_finite=self._what.check_finite,
                # A step that is saved again is no worse known than before: its earlier checkpoint
                # is superseded, and might have been the best.
                metrics=clean_metrics({**self._feed.of_step(step), **(metrics or {})}),
                reason=due.reason,
                tag=tag,
                parent=self._ledger.newest(),
                environment=environment.capture(),
                slot=slot,
                started_s=started_s,
                remembered=boundary.positions if boundary is not None else None,
                spares_others=self._beginning.spares_others,
                lineage=self._ancestry.lineage,
                versions=due.versions,
                epoch=self._schedule.epoch,
                tiers=tiers,
            )
            self._ledger.add(handle)
            self._schedule.note_save(step, tiers)
            return handle

    def save_at(self, boundary: Boundary, reason: str) -> SaveHandle | None:
        """Save an earlier moment at which the state is still."""
        return self.save(boundary.step, None, Due(reason), boundary=boundary)

    def step_ended(self) -> None:
        """Make ready for the state that the first step leaves: the optimizer's is there by then."""
        if self._has_stepped:
            return
        self._has_stepped = True
        error = self.prepare()
        if error is not None:
            # Told now, not hours later when the first save is due and fails.
            _log.warning("The state cannot be saved as it is now: %s", error)

    def prepare(self, patience_s: float = 0.0) -> Exception | None:
        """Have memory for snapshots ready before the first is due; return why it cannot be saved.

        Args:
            patience_s: How long to wait for the system to provide the memory.
        """
        frameworks.activate()
        return self._saver.prepare(
            tree_of(self._what.state, None, rng=self._what.rng),
            only=self._what.only,
            skip=self._what.skip,
            casts=self._what.casts,
            patience_s=patience_s,
        )
