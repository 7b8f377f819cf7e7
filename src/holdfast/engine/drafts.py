"""Commits that only rank 0 knew how to make, made by whoever takes its place.

Ranks write their parts, and rank 0 commits them. Should its machine be lost in between, all that
the checkpoint is made of is there but what the commit says. So rank 0's pin says that, too; and
who takes the run next makes the commit, if every part has come.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from holdfast.engine import job as jobs
from holdfast.engine.job import SaveJob
from holdfast.errors import DataError
from holdfast.format.commit import CommitRecord, PartRef
from holdfast.format.names import RunKeys
from holdfast.history.pack_names import packs_in
from holdfast.plan.layout import laid_out
from holdfast.records import commits, pins
from holdfast.store.contract import ObjectStore, list_everywhere

_log = logging.getLogger("holdfast")


def draft_of(job: SaveJob) -> Mapping[str, Any] | None:
    """Return what rank 0's pin says of a save that several ranks make; None for any other."""
    if job.world_size == 1 or job.rank:
        return None
    # How the state lies in memory, the parts say.
    return jobs.to_message(replace(job, layout=laid_out([]), plan=b"", arena=""))[0]


def left(store: ObjectStore, run: str, incarnation: str = "") -> Iterator[SaveJob]:
    """Yield the saves that rank 0 was about to commit when it was lost, oldest first.

    Only those that training would have gone on from: one that comes after the newest commit, and
    belongs to the same training or has begun there.

    Args:
        store: Where the run is.
        run: Its name.
        incarnation: Of which training none is yielded: its ranks live, and it finishes its own.
    """
    found = []
    for pin in pins.all_pins(store, run):
        job = _job_of(pin.draft) if pin.draft is not None and not pin.rank else None
        is_whole = job is not None and job.id == pin.checkpoint_id and job.world_size > 1
        if job is not None and is_whole and job.incarnation != incarnation:
            found.append(job)
    for job in sorted(found, key=lambda job: job.step):
        newest = next(reversed(commits.good_commits(store, run)), None)
        if newest is None or _follows(job, newest):
            yield job


def has_all_packs(store: ObjectStore, run: str, parts: tuple[PartRef, ...]) -> bool:
    """Say whether all packs that parts name are there, in their length."""
    there = {info.key: info.size for info in list_everywhere(store, RunKeys(run).packs)}
    try:
        needed = [packs_in(store, part.key, part.digest) for part in parts]
    except DataError:
        return False
    return all(there.get(key, -1) >= length for of in needed for key, length in of.items())


def _follows(job: SaveJob, newest: CommitRecord) -> bool:
    if job.id == newest.id:
        return False
    is_same_training = job.incarnation == newest.incarnation and job.step > newest.step
    return is_same_training or job.parent == newest.id


def _job_of(draft: Mapping[str, Any]) -> SaveJob | None:
    try:
        return jobs.from_message(draft, b"")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        _log.warning(
            "A pin says what its commit shall be in a way that is not understood: %s", error
        )
        return None
