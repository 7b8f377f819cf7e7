"""How the commit of a save comes about: its number, and what happens where it fails.

The record goes last: its presence is the commit. A save whose commit failed may have it all the
same, since a server may carry out what nobody waits for any more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn, final

from holdfast.chunks.write import Written
from holdfast.engine.job import SaveJob
from holdfast.engine.naming import Naming
from holdfast.errors import DataError, HoldfastError, ManifestDamaged, RunBusy
from holdfast.format import commit as commit_format
from holdfast.format import part as part_format
from holdfast.format.commit import MAX_NUMBER, CommitRecord, Link, PartRef
from holdfast.format.names import RunKeys, checkpoint_of
from holdfast.records import commits, pins
from holdfast.records.visible import wait_until_seen
from holdfast.security.authenticity import Authenticity
from holdfast.store.contract import ObjectStore


@final
class Committing:
    """Commits the saves of a run, one after the other.

    Args:
        store: Where the run is.
        run: Its name.
        authenticity: Who signs.
        naming: Knows which names come next.
        taken_by: Tells who has taken the run since this writer did; None: nobody.
    """

    def __init__(
        self,
        store: ObjectStore,
        run: str,
        authenticity: Authenticity,
        naming: Naming,
        taken_by: Callable[[], Mapping[str, object] | None] = lambda: None,
    ) -> None:
        self._store = store
        self._run = run
        self._sign = authenticity.sign
        self._naming = naming
        self._taken_by = taken_by
        self._keys = RunKeys(run)
        self._previous: Link | None = None
        self._next_seq = 1
        # Saves that failed when their commit was there already, so that it may count or not.
        self._in_doubt: set[str] = set()
        # Of those, the ones whose commit may still be carried out.
        self._may_come: set[str] = set()

    def go_on_after(self, numbers: Sequence[int]) -> None:
        """Give the next commit the number after those that are taken, which rise.

        Raises:
            ManifestDamaged: The last number that there is is taken, which no writer does.
        """
        self._next_seq = numbers[-1] + 1 if numbers else 1
        if self._next_seq > MAX_NUMBER:
            key = self._keys.commit(MAX_NUMBER)
            raise ManifestDamaged(
                f"The run {self._run!r} has a commit record of the highest number that there is "
                f"({key}), and none can follow it. Nothing was changed; what is there can be "
                "restored. No writer comes that far: look at it with 'holdfast verify', and delete "
                "it.",
                run=self._run,
                key=key,
            )

    def link_to(self, newest: Link) -> None:
        """Have the next commit name the newest one that is trusted; the first call counts."""
        self._previous = self._previous or newest

    def may_come_yet(self, job: SaveJob) -> bool:
        """Say whether the commit of a save that failed may still appear.

        What it would name has to stay until the run is opened again.
        """
        return job.id in self._may_come

    def commit(
        self,
        job: SaveJob,
        parts: Sequence[PartRef],
        written: Written,
        not_finite: int | None,
        parts_format: int | None = None,
    ) -> tuple[CommitRecord, bytes]:
        """Commit what a save has written; return the record and its bytes once all can see it.

        Args:
            job: The save.
            parts: Its manifests.
            written: Where its chunks lie.
            not_finite: How many elements are not finite, if anybody looked.
            parts_format: The highest format of the parts, where others have written some of them.

        Raises:
            RunBusy: Another writer has committed to the run.
            NoSpace, StoreUnavailable: It did not come about; nor is what was written left there,
                unless it may come yet.
        """
        try:
            newest = parts_format or part_format.format_of(written.places)
            data = self._put(job, parts, written, not_finite, newest)
        except HoldfastError as error:
            self._in_doubt.add(job.id)
            if error.facts.get("in_doubt"):
                self._may_come.add(job.id)
            else:
                taken = isinstance(error, RunBusy)
                self.take_back(job, written, parts, number_is_taken=taken)
            raise
        return self._seen(data)

    def adopt(self, record: CommitRecord) -> tuple[CommitRecord, bytes]:
        """Commit a checkpoint of another store as what it is; all that it names is here already.

        It gets the next number here, and the signatures of who signs here.

        Raises:
            RunBusy: Another writer has committed to the run.
            NoSpace, StoreUnavailable: It did not come about; what it names stays.
        """
        try:
            data = self._put_next(
                None,
                lambda: replace(record, seq=self._next_seq, previous=self._previous, envelope=None),
            )
        except HoldfastError:
            self._in_doubt.add(record.id)
            raise
        return self._seen(data)

    def _seen(self, data: bytes) -> tuple[CommitRecord, bytes]:
        """Return a commit that was put just now, once all can see it."""
        record = commit_format.decode(data, what="a new commit")
        # Before the pin goes: a sweep that sees neither would take the packs for debris.
        wait_until_seen(self._store, self._keys.commit(record.seq))
        self._require_pin(record)
        self._previous = record.link
        return record, data

    def _put(
        self,
        job: SaveJob,
        parts: Sequence[PartRef],
        written: Written,
        not_finite: int | None,
        newest: int,
    ) -> bytes:
        names = self._naming.next_names(job, not_finite)
        return self._put_next(
            job, lambda: self._record(job, parts, written, not_finite, names, newest)
        )

    def _put_next(self, job: SaveJob | None, make: Callable[[], CommitRecord]) -> bytes:
        """Put a commit under the next number that is free; return its bytes."""
        if job is not None:
            self.require_ours(job)
        while True:
            record = make()
            data = commit_format.encode(record, self._sign)
            if self._store.put_new(self._keys.commit(record.seq), data):
                self._next_seq = record.seq + 1
                return data
            own = self._own(record.seq)
            if own is None:
                self._refuse(record)
            self._previous = own.link
            self._next_seq = record.seq + 1

    def _record(
        self,
        job: SaveJob,
        parts: Sequence[PartRef],
        written: Written,
        not_finite: int | None,
        names: tuple[str, ...],
        newest: int,
    ) -> CommitRecord:
        return CommitRecord(
            run=self._run,
            step=job.step,
            id=job.id,
            seq=self._next_seq,
            # A clock from before the epoch must not cost the checkpoint.
            created_ns=job.created_ns or max(time.time_ns(), 0),
            parts=tuple(parts),
            metrics=job.metrics,
            reason=job.reason,
            parent=job.parent,
            incarnation=job.incarnation,
            state_bytes=job.state_bytes,
            stored_bytes=written.new_bytes + sum(part.length for part in parts),
            n_leaves=job.n_leaves,
            environment=job.environment,
            previous=self._previous,
            lineage=job.lineage,
            names=names,
            epoch=job.epoch,
            not_finite=not_finite,
            world_size=job.world_size,
            format=newest,
        )

    def _own(self, seq: int) -> CommitRecord | None:
        """Return the commit that took a number if it is of a save of ours that failed yet."""
        try:
            record = commits.read_commit(self._store, self._run, seq)
        except DataError:
            return None
        return record if record.id in self._in_doubt else None

    def leave_in_doubt(self, job: SaveJob) -> None:
        """Note of a save that somebody else may still commit it."""
        self._may_come.add(job.id)

    def require_ours(self, job: SaveJob) -> None:
        """Look whether the run is still this writer's.

        Raises:
            RunBusy: Another one has taken it.
        """
        if self._taken_by() is not None:
            self._refuse_taken(job.step)

    def take_back(
        self,
        job: SaveJob,
        written: Written,
        parts: Sequence[PartRef],
        *,
        number_is_taken: bool = False,
    ) -> None:
        """Delete what was written for a commit that did not come about."""
        with contextlib.suppress(HoldfastError):
            if job.world_size > 1 and not self._is_left_to_us(job):
                return
            # It may have come about all the same, and only its sync have failed.
            if not number_is_taken and commits.is_listed(
                self._store, self._run, self._next_seq, job.id
            ):
                return
            packs = {place.pack_key for place in written.places}
            own = [key for key in packs if checkpoint_of(key) == job.id]
            self._store.delete([*own, *(part.key for part in parts)])

    def _is_left_to_us(self, job: SaveJob) -> bool:
        """Say whether nobody who took the run has committed a save of ours by its draft, nor will.

        Whoever does so looks for the pin after the commit is visible, and takes that back if it is
        gone. So the pin goes first, and then the note is looked at.
        """
        pins.delete_pin(self._store, self._run, job.id, job.rank)
        return self._taken_by() is None

    def _refuse(self, record: CommitRecord) -> NoReturn:
        raise RunBusy(
            f"Another process committed a checkpoint to the run {self._run!r} meanwhile (number "
            f"{record.seq}). Step {record.step} was not saved by this one; the other's checkpoints "
            "are intact. Give one of the two runs another name.",
            run=self._run,
            step=record.step,
        )

    def _require_pin(self, record: CommitRecord) -> None:
        """Take a commit back if another writer has thought us dead, and may have swept its packs.

        Between processes of one machine the lock keeps that from happening.
        """
        # After the commit is visible, not before: see records.pins. Who takes the run writes its
        # note first, and then looks at the commits: either it sees this one, or we see the note.
        if pins.is_pinned(self._store, self._run, record.id) and self._taken_by() is None:
            return
        self._store.delete([self._keys.commit(record.seq)])
        self._refuse_taken(record.step)

    def _refuse_taken(self, step: int) -> NoReturn:
        taken_by = self._taken_by() or {}
        pid, host = taken_by.get("owner_pid"), taken_by.get("host")
        who = f"Process {pid} on {host}" if taken_by else "Another process"
        raise RunBusy(
            f"{who} took over the run {self._run!r}, which this process was writing. Step {step} "
            "was not saved by this one; the other's checkpoints, and those that were committed "
            "before, are intact. End this process, or give one of the two runs another name.",
            run=self._run,
            step=step,
            pid=pid,
            host=host,
        )
