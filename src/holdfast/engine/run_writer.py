"""The writer of a run: turns jobs into committed checkpoints, one after the other.

The order of writes is what makes a checkpoint whole or not at all: pin, packs, part manifest,
commit, tag. A crash between any two leaves the store as it was, but for debris that nothing
names; the next writer of the run removes it.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from holdfast.chunks.deltas import Deltas
from holdfast.chunks.encoder import Compress, Encoder
from holdfast.chunks.finite import Known
from holdfast.chunks.source import ChunkSource
from holdfast.chunks.stored import Stored
from holdfast.chunks.write import Written, write_chunks
from holdfast.engine import drafts
from holdfast.engine.base import Base, still_stored
from holdfast.engine.behind import Behind, nothing_behind
from holdfast.engine.carrying import Carrying
from holdfast.engine.committing import Committing
from holdfast.engine.first_commit import FirstCommit
from holdfast.engine.job import SaveJob
from holdfast.engine.naming import Naming
from holdfast.engine.other_parts import OtherParts, Parts
from holdfast.engine.part_manifest import PartManifest
from holdfast.engine.unfinished import Saved, Unfinished, found_again
from holdfast.engine.writer_lock import WriterLock
from holdfast.errors import DataError, HoldfastError, SaveFailed
from holdfast.format import part as part_format
from holdfast.format.commit import CommitRecord
from holdfast.format.names import RunKeys
from holdfast.history.chain import linked
from holdfast.history.missing import missing_commits
from holdfast.history.sweep import sweep_debris
from holdfast.plan.elements import elements_of_chunks
from holdfast.records import commits, pins, unlocking
from holdfast.records.commits import DamagedCommit
from holdfast.records.rewriting import alone
from holdfast.sealed.store import SealedStore
from holdfast.security.authenticity import NOBODY, Authenticity
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")

PATIENCE_S = 120.0
# The packs of a save are numbered through its ranks.
PACKS_OF_RANK = 100_000


class RunWriter:
    """Owns a run while it is written.

    One save at a time is written, and one at a time is finished: another thread may finish a save
    while the next one is written. Saves are finished in the order in which they were written.
    """

    def __init__(
        self,
        store: ObjectStore,
        run: str,
        *,
        authenticity: Authenticity = NOBODY,
        compress: Compress = "none",
        threads: int | None = None,
        rank: int = 0,
        incarnation: str = "",
        patience_s: float = PATIENCE_S,
        is_orphaned: Callable[[], bool] = lambda: False,
    ) -> None:
        self.store = store
        self.run = run
        self.authenticity = authenticity
        self._has_deltas = compress == "delta"
        deltas = Deltas(store) if self._has_deltas else None
        self._encoder = Encoder(compress, deltas=deltas) if compress != "none" else None
        self._keys = RunKeys(run)
        self._lock = WriterLock(store, run, incarnation)
        self._threads = threads
        self.rank = rank
        self._incarnation = incarnation
        self._carrying = Carrying(store, run, rank, incarnation)
        self._others = OtherParts(store, run, patience_s, is_orphaned)
        self._first = FirstCommit(store, run, patience_s, is_orphaned)
        self._naming = Naming(store, run)
        self._committing = Committing(store, run, authenticity, self._naming, self._lock.taken_by)
        self._known_finite: Known = {}
        # What was committed since the last save began: the next one builds on it.
        self._committed: queue.SimpleQueue[tuple[CommitRecord, Written | None]]
        self._committed = queue.SimpleQueue()

    def open(self, owner_pid: int, *, is_first: bool = True) -> None:
        """Take the run's lock, clear away what dead writers left, and find the newest checkpoint.

        Of several ranks the first one does so for all.

        Args:
            owner_pid: The trainer.
            is_first: Whether its training begins: of several ranks no other one writes yet.

        Raises:
            RunBusy: Another live process writes the run.
        """
        if self.rank:
            self._find_newest(commits.sequence_numbers(self.store, self.run))
            return
        self._lock.acquire(owner_pid, patience_s=PATIENCE_S, is_fence=True)
        try:
            self._look_around(others_write=bool(self._incarnation) and not is_first)
        except BaseException:
            self._lock.release()
            raise

    def _look_around(self, *, others_write: bool) -> None:
        numbers = commits.sequence_numbers(self.store, self.run)
        lost = missing_commits(self.store, self.run)
        for missing in lost:
            _log.warning("%s", missing.problem)
        # Their numbers stay theirs: they may be brought back.
        self._committing.go_on_after(sorted({*numbers, *(missing.seq for missing in lost)}))
        if self._has_completed():
            numbers = commits.sequence_numbers(self.store, self.run)
        sweep_debris(self.store, self.run, self._incarnation, others_write=others_write)
        self._naming.give_missing()
        self._find_newest(numbers)

    def _has_completed(self) -> bool:
        """Commit what all ranks have written where only rank 0 was lost; say if there was any.

        Not what its own training has written, which goes on; nor where commits are signed: nobody
        but the lost one can answer for what is there.
        """
        if self.authenticity.signers or self.authenticity.trust is not None:
            return False
        is_any = False
        for job in drafts.left(self.store, self.run, self._incarnation):
            try:
                parts = self._others.at_hand(job)
                if parts is None or not drafts.has_all_packs(self.store, self.run, parts.refs):
                    continue
                self._find_newest(commits.sequence_numbers(self.store, self.run))
                self._commit_parts(job, parts, Written([], parts.new_bytes))
            except HoldfastError as error:
                _log.warning("Step %d, that rank 0 had not committed: %s", job.step, error)
                continue
            _log.warning(
                "Step %d had been saved by all ranks when rank 0 was lost; it is committed now.",
                job.step,
            )
            is_any = True
        return is_any

    def _find_newest(self, numbers: Sequence[int]) -> None:
        if self._has_deltas:
            self._carrying.note_ages(commits.good_commits(self.store, self.run))
        if not numbers:
            self._carrying.begin_anew()
        for found in self._believed(reversed(numbers)):
            self._committing.link_to(found.link)
            # One that has no parts is too new to be built on; it was there all the same.
            if found.parts and self._carrying.begin_at(found):
                break

    def _believed(self, numbers: Iterable[int]) -> Iterator[CommitRecord]:
        """Yield those commits that are trusted; of one that is too new a stand-in."""
        for seq in numbers:
            found: CommitRecord | DamagedCommit
            try:
                found = commits.read_commit(self.store, self.run, seq)
            except DataError as error:
                found = DamagedCommit(self._keys.commit(seq), seq, error)
            yield from linked(self.run, [found], self.authenticity.trust)

    @property
    def newest_id(self) -> str | None:
        """Id of the newest checkpoint that a save may build on, or None."""
        base = self._newest_base()
        return base.checkpoint_id if base is not None else None

    def _newest_base(self) -> Base | None:
        """Return what the next save may build on, now that others were committed."""
        while not self._committed.empty():
            record, written = self._committed.get()
            if written is None:
                self._carrying.begin_at(record)
            else:
                self._carrying.go_on_from(record, written)
        return self._carrying.base

    def close(self) -> None:
        """Give the run back."""
        if not self.rank:
            self._lock.release()

    def save(
        self,
        job: SaveJob,
        source: ChunkSource,
        unchanged: Callable[[], Mapping[int, Stored]] = dict,
        check: Callable[[], None] = lambda: None,
    ) -> Saved:
        """Write a checkpoint and commit it; it is durable on return.

        Args:
            job: What to write.
            source: The bytes of its chunks.
            unchanged: Tells, once all chunks have arrived, where those are stored, by index, that
                have not changed since the writer's last save.
            check: Raises where the source has not given one moment of the state. Asked once all of
                it was read; nothing of what was written stays then.

        Raises:
            RunBusy: Another writer has committed to the run.
            KeyNeeded: The keys of the store were changed, and nobody could read it.
            NoSpace, StoreUnavailable: Nothing was committed.
        """
        return self.finish(self.write(job, source, unchanged, check))

    def write(
        self,
        job: SaveJob,
        source: ChunkSource,
        unchanged: Callable[[], Mapping[int, Stored]] = dict,
        check: Callable[[], None] = lambda: None,
    ) -> Unfinished:
        """Make this process's share of a checkpoint durable, for ``finish`` to commit it.

        It may refer to what is committed by now, and to nothing else: its pin holds that. The
        arguments are those of ``save``, and so are the errors.
        """
        base = self._newest_base()
        if base is not None and base.checkpoint_id == job.id:
            return Unfinished(job, saved=self._saved_already(job, base))
        if isinstance(self.store, SealedStore):
            unlocking.follow(self.store)
        try:
            base = self._carrying.pinned(job.id, drafts.draft_of(job))
            manifest = PartManifest(job, source, self._keys, self._known_finite, check)
            if self.rank and self._first.has_written(job):
                self._first.show_again(job)
                return Unfinished(job)
            written = self._write(job, source, manifest, unchanged, base)
        except BaseException:
            self.unpin(job)
            raise
        return Unfinished(job, written, manifest.refs, manifest.not_finite)

    def go_on_with(self, job: SaveJob) -> Unfinished:
        """Take over a save that a persister before this one has written; its pin is there still.

        Raises:
            SaveFailed: What it has written is gone.
        """
        base = self._newest_base()
        if base is not None and base.checkpoint_id == job.id:
            return Unfinished(job, saved=self._saved_already(job, base))
        return Unfinished(job) if self.rank else found_again(self.store, self.run, job)

    def finish(self, left: Unfinished, behind: Behind = nothing_behind) -> Saved:
        """Commit what was written, or wait for rank 0 to do so; errors are those of ``save``.

        Args:
            left: What ``write`` gave.
            behind: Tells which saves are written too, and wait for this one to be finished.
        """
        job = left.job
        if left.saved is not None:
            if job.world_size > 1:
                self.unpin(job)
            return left.saved
        try:
            record, data = self._awaited(left, behind) if self.rank else self._commit(left, behind)
        finally:
            if not self._committing.may_come_yet(job):
                self.unpin(job)
        self._committed.put((record, left.written))
        places = left.written.places if left.written is not None else []
        tag_error = None if self.rank else self._naming.give(job, record)
        return Saved(record, data, places, tag_error)

    def write_part(self, job: SaveJob, source: ChunkSource) -> None:
        """Write what a rank has of a checkpoint; its pin stays until ``unpin``.

        Whoever saves for the first rank commits it, once the parts of all are there.
        """
        base = self._carrying.pinned(job.id)
        manifest = PartManifest(job, source, self._keys, self._known_finite)
        self._write(job, source, manifest, dict, base)

    def _commit(self, left: Unfinished, behind: Behind) -> tuple[CommitRecord, bytes]:
        job, written = left.job, left.written
        assert written is not None
        if job.world_size == 1:
            return self._committing.commit(job, left.parts, written, left.not_finite)
        try:
            self._committing.require_ours(job)
            parts = self._others.wait(job, left.written_s, behind)
        except Exception as error:
            # Whatever it was, the others wait for this commit.
            self._others.tell_why(job, error)
            self._committing.take_back(job, written, left.parts)
            # Who took the run meanwhile may have committed it, and clears away what it has not.
            self._committing.require_ours(job)
            self._others.give_up(job)
            raise
        return self._commit_parts(job, parts, written)

    def _commit_parts(
        self, job: SaveJob, parts: Parts, written: Written
    ) -> tuple[CommitRecord, bytes]:
        whole = replace(job, state_bytes=parts.state_bytes, n_leaves=parts.n_leaves)
        sums = replace(written, new_bytes=parts.new_bytes)
        return self._committing.commit(whole, parts.refs, sums, parts.not_finite, parts.format)

    def _awaited(self, left: Unfinished, behind: Behind) -> tuple[CommitRecord, bytes]:
        """Return the checkpoint that rank 0 commits with this rank's part."""
        job = left.job
        try:
            return self._first.wait(job, left.written_s, behind, self._committing.require_ours)
        except SaveFailed as error:
            if error.facts.get("given_up"):
                self.store.delete([self._keys.part(job.id, job.rank)])
            else:
                self._committing.leave_in_doubt(job)
            raise

    def _write(
        self,
        job: SaveJob,
        source: ChunkSource,
        manifest: PartManifest,
        unchanged: Callable[[], Mapping[int, Stored]],
        base: Base | None,
    ) -> Written:
        encoder = self._ready_encoder(job, base)
        is_good = self._carrying.check_for(base)
        written = write_chunks(
            self.store,
            job.layout,
            source,
            pack_key=lambda number: self._keys.pack(job.id, job.rank * PACKS_OF_RANK + number),
            manifest=manifest.complete,
            known=base.chunks if base is not None else {},
            unchanged=lambda: still_stored(unchanged(), base, is_good),
            is_intact=is_good,
            look=manifest.look,
            encoder=encoder,
            threads=self._threads,
            # Ranks share it out evenly, more or less.
            total_bytes=job.layout.total_bytes * job.world_size,
        )
        if encoder is not None:
            encoder.end()
        self._known_finite = manifest.known
        return written

    def _ready_encoder(self, job: SaveJob, base: Base | None) -> Encoder | None:
        if self._encoder is not None:
            rows, lengths = part_format.planned_arrays(job.plan), job.layout.lengths
            found = self._carrying.origins(job, base) if self._has_deltas else {}
            self._encoder.begin(elements_of_chunks(rows, lengths), lengths, found)
        return self._encoder

    def _saved_already(self, job: SaveJob, base: Base) -> Saved:
        """Answer for a writer that died between its commit and its answer."""
        key = self._keys.commit(base.seq)
        # Once more, in one step: it may not have been durable yet.
        with alone(self.store, self.run):
            data = self.store.get(key)
            self.store.put(key, data)
        record = commits.read_commit(self.store, self.run, base.seq)
        return Saved(record, data, [], self._naming.give(job, record))

    def unpin(self, job: SaveJob) -> None:
        """Take back the pin of a save that is over."""
        try:
            pins.delete_pin(self.store, self.run, job.id, job.rank)
        except HoldfastError as error:
            _log.warning("The pin of a save stays until the run is opened again: %s", error)
