"""Where the checkpoints of a process come from, to be written with each of them."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine.restore import Outcome
from holdfast.format.lineage import Lineage, Origin
from holdfast.records import journal, marker
from holdfast.store.contract import ObjectStore


class Ancestry:
    """Knows the lineage that the next checkpoint has."""

    def __init__(self, store: ObjectStore, run: str, given: Lineage) -> None:
        self._store = store
        self._run = run
        self.lineage = given

    def went_on_from(
        self,
        outcome: Outcome,
        source: ObjectStore | None,
        event: str,
        came_from: str | None,
        *,
        rank: int = 0,
        **facts: object,
    ) -> None:
        """Note that a checkpoint was restored: of this run, or of another one that it forks.

        Args:
            outcome: What was restored.
            source: The store that it is in; None: this run's own, or another of its tiers, which
                have the same checkpoints.
            event: What the journal calls it.
            came_from: Id of the checkpoint that was the newest before.
            rank: Which of several processes that restored together this is; the first one notes it
                for all.
            facts: What the journal says besides.
        """
        record, store_id = outcome.record, marker.store_id(source or self._store)
        origin = Origin(store_id, record.run, record.step, record.id)
        is_own = record.run == self._run and store_id == marker.store_id(self._store)
        self.lineage = replace(
            self.lineage,
            resumed_from=origin if is_own else None,
            forked_from=record.lineage.forked_from if is_own else origin,
        )
        if rank:
            return
        journal.record(
            self._store,
            self._run,
            event,
            step=record.step,
            ref=origin.ref,
            stepped_over=outcome.stepped_over,
            from_id=came_from,
            state_bytes=record.state_bytes,
            **facts,
        )
