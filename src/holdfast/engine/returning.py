"""Going to a checkpoint: restored, and all that follow a run told where it goes on from."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from holdfast import frameworks
from holdfast.engine.ancestry import Ancestry
from holdfast.engine.beginning import Beginning
from holdfast.engine.chronicle import progress
from holdfast.engine.last_step import LastStep
from holdfast.engine.ledger import Ledger
from holdfast.engine.lifetime import Lifetime
from holdfast.engine.metrics_feed import MetricsFeed
from holdfast.engine.pace import Pace
from holdfast.engine.restore import Outcome, Wanted
from holdfast.engine.restore_ref import restore_named
from holdfast.engine.restore_together import restore_together
from holdfast.engine.saver import Saver
from holdfast.engine.saving import WhatIsSaved
from holdfast.engine.schedule import Schedule
from holdfast.engine.tiers.beside_home import Beside
from holdfast.engine.tiers.kinds import HOME
from holdfast.engine.tiers.restoring import restore_nearest, restore_together_nearest
from holdfast.engine.watching import Watcher
from holdfast.security.trust_policy import TrustPolicy
from holdfast.state.paths import Patterns
from holdfast.store.contract import ObjectStore


@dataclass(frozen=True, slots=True)
class Asked:
    """What to go to, and with how much of it.

    Attributes:
        event: What the journal calls it.
        ref: The checkpoint; None is the newest good one.
        source: The store that it is in; None: the run's own, or another of its tiers.
        trust: Whom to believe there.
        strict: A leaf that only one side has is an error.
        only: Patterns of the leaves to restore; None: those that are saved.
        skip: Patterns of the leaves not to restore; None: those that are not saved.
    """

    event: str
    ref: str | int | None
    source: ObjectStore | None
    trust: TrustPolicy | None
    strict: bool
    only: Patterns
    skip: Patterns


class Returning:
    """Restores, and lets everybody who follows the run begin anew from there.

    Args:
        run: Name of the run.
        what: The state and which part of it is saved.
        saver: Lends its memory.
        lifetime: Whether the run may be used.
        beginning: Knows how the run began.
        pace: Measures steps.
        ancestry: Knows where the state comes from.
        ledger, schedule, last_step, watcher, feed: Follow the run.
        beside: Its tiers.
    """

    def __init__(
        self,
        run: str,
        what: WhatIsSaved,
        *,
        saver: Saver,
        lifetime: Lifetime,
        beginning: Beginning,
        pace: Pace,
        ancestry: Ancestry,
        ledger: Ledger,
        schedule: Schedule,
        last_step: LastStep,
        watcher: Watcher,
        feed: MetricsFeed,
        beside: Beside,
    ) -> None:
        self._beside = beside
        self._run = run
        self._what = what
        self._saver = saver
        self._lifetime = lifetime
        self._beginning = beginning
        self._pace = pace
        self._ancestry = ancestry
        self._ledger = ledger
        self._schedule = schedule
        self._last_step = last_step
        self._watcher = watcher
        self._feed = feed

    def restore(self, asked: Asked) -> Outcome | None:
        """Go to a checkpoint; None where the run has none yet."""
        self._lifetime.require_open()
        before, began_s = progress(self._saver.client.heartbeat), time.monotonic()
        self._saver.client.wait_ready()
        self._saver.wait()
        came_from = self._ledger.newest()
        frameworks.activate()
        with self._lifetime.noting_half():
            outcome = self._restored(asked)
        self._beginning.look()
        self._pace.begin()
        if outcome is None:
            return None
        self._begin_anew(outcome.record.step, outcome.record.id)
        facts: dict[str, Any] = {
            "took_s": time.monotonic() - began_s,
            "before": before,
            "incarnation": self._saver.incarnation,
            "read_bytes": outcome.nbytes.read,
            "wanted_bytes": outcome.nbytes.wanted,
        }
        if outcome.nbytes_of_ranks:
            # Of each rank what it read, and what for.
            facts["bytes_of_ranks"] = [(n.read, n.wanted) for n in outcome.nbytes_of_ranks]
        if outcome.tier != HOME:
            facts["tier"] = outcome.tier
        rank = self._saver.ranks.rank if self._saver.ranks is not None else 0
        self._ancestry.went_on_from(
            outcome, asked.source, asked.event, came_from, rank=rank, **facts
        )
        return outcome

    def _restored(self, asked: Asked) -> Outcome | None:
        ranks, wanted = self._saver.ranks, self._wanted(asked)
        if ranks is not None:
            wanted = replace(wanted, rank=ranks.rank)
            if asked.source is not None:
                return restore_together(ranks, asked.source, self._run, asked.ref, wanted)
            sources, absent = self._beside.sources()
            return restore_together_nearest(ranks, sources, absent, self._run, asked.ref, wanted)
        if asked.source is not None:
            return restore_named(asked.source, self._run, asked.ref, wanted)
        return restore_nearest(*self._beside.sources(), self._run, asked.ref, wanted)

    def _wanted(self, asked: Asked) -> Wanted:
        what = self._what
        only = asked.only if asked.only is not None else what.only
        return Wanted(
            what.state,
            whole=only is None,
            only=only,
            skip=asked.skip if asked.skip is not None else what.skip,
            strict=asked.strict,
            rng=what.rng,
            trust=asked.trust,
            spare=self._saver.lend_memory(),
            told=(asked.only, asked.skip),
        )

    def _begin_anew(self, step: int, checkpoint_id: str) -> None:
        self._lifetime.half_restored = None
        self._schedule.restart(step)
        self._ledger.restart(checkpoint_id)
        self._last_step.forget()
        self._watcher.restart(step)
        self._feed.begin(step)
