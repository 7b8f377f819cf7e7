"""The tag and the names for good that a save gives its checkpoint, once that is committed."""

from __future__ import annotations

import logging
from typing import final

from holdfast.engine.job import SaveJob
from holdfast.errors import HoldfastError
from holdfast.format.commit import CommitRecord
from holdfast.records import commits, tags
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")


@final
class Naming:
    """Names the checkpoints of a run. A commit tells its names, so that a crash costs none."""

    def __init__(self, store: ObjectStore, run: str) -> None:
        self._store = store
        self._run = run
        self._has_unnamed = False

    def next_names(self, job: SaveJob, not_finite: int | None) -> tuple[str, ...]:
        """Return the names that a save shall get.

        Args:
            job: The save.
            not_finite: How many of its elements are not finite, if anybody looked.
        """
        if self._has_unnamed and job.versions:
            self.give_missing()
        # What is not finite is never the best of anything.
        versions = () if not_finite else job.versions
        return tuple(tags.next_version(self._store, self._run, base) for base in versions)

    def give(self, job: SaveJob, record: CommitRecord) -> HoldfastError | None:
        """Give a checkpoint its tag and its names; return why that could not be done."""
        try:
            if job.tag is not None:
                tags.put_tag(self._store, self._run, job.tag, job.id)
            for name in record.names:
                tags.put_name(self._store, self._run, name, record.id)
        except HoldfastError as error:
            self._has_unnamed = True
            return error
        return None

    def give_missing(self) -> None:
        """Give checkpoints the names that their commits tell of, where a writer died before."""
        self._has_unnamed = True
        try:
            found = commits.good_commits(self._store, self._run)
            tags.put_missing_names(self._store, self._run, found)
            self._has_unnamed = False
        except HoldfastError as error:
            _log.warning("A checkpoint of run %r waits for its name: %s", self._run, error)
