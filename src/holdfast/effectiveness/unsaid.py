"""Checkpoints that are in the store, and that the journal of their run does not tell of."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from holdfast.effectiveness.events import Event
from holdfast.format.commit import CommitRecord
from holdfast.wording.numbers import plural

# A checkpoint is visible a moment before it is written down.
_JUST_NOW_NS = 10_000_000_000
# Reasons of what no process that trains has saved: rollbacks and copies, and single saves.
_BY_COMMANDS = ("rolled back to", "copied from", "save()")


def doubts_of_the_unsaid(records: Sequence[CommitRecord], events: Iterable[Event]) -> list[str]:
    """Return, in words, that checkpoints are there without the events of their saves.

    Half a journal looks like a whole one of a shorter run; what the store has tells them apart.
    """
    told = {event.get("id") for event in events if event.get("event") == "saved"}
    before_ns = time.time_ns() - _JUST_NOW_NS
    unsaid = [
        record
        for record in records
        if record.id not in told
        and record.created_ns < before_ns
        and not record.reason.startswith(_BY_COMMANDS)
    ]
    if not unsaid:
        return []
    return [
        f"The journal does not tell of {plural(len(unsaid), 'checkpoint')} of "
        f"{len(records):,} in the store, the newest of step {unsaid[-1].step}: a part of it is "
        "missing, or no Checkpointer has saved them here. What was done for them is not counted."
    ]
