"""Checkpoints that are in the store, and that the journal of their run does not tell of."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from holdfast.effectiveness.events import Event
from holdfast.format.commit import CommitRecord
from holdfast.wording.numbers import plural

# A checkpoint is visible a moment before it is written down.
_JUST_NOW_NS = 10_000_000_000


def doubts_of_the_unsaid(records: Sequence[CommitRecord], events: Iterable[Event]) -> list[str]:
    """Return, in words, that checkpoints are there without the events of their saves.

    Half a journal looks like a whole one of a shorter run; what the store has tells them apart.
    """
    told = {event.get("id") for event in events if event.get("event") == "saved"}
    before_ns = time.time_ns() - _JUST_NOW_NS
    unsaid = [r for r in records if r.id not in told and r.created_ns < before_ns]
    if not unsaid:
        return []
    return [
        f"The journal does not tell of {plural(len(unsaid), 'checkpoint')} of "
        f"{len(records):,} in the store, the newest of step {unsaid[-1].step}: a part of it is "
        "missing, or they were not saved by a Checkpointer here (copied, imported, saved by "
        "themselves). What was done for them is not counted."
    ]
