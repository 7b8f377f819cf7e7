"""The writer of a run: turns jobs into committed checkpoints, one after the other.

The order of writes is what makes a checkpoint whole or not at all: pin, packs, part manifest,
commit, tag. A crash between any two leaves the store as it was, but for debris that nothing
names; the next writer of the run removes it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from holdfast.chunks.deltas import Ages, Deltas, Origin, origins
from holdfast.chunks.encoder import Compress, Encoder
from holdfast.chunks.fetch import fetch_chunk
from holdfast.chunks.finite import FiniteLook, Known
from holdfast.chunks.source import ChunkSource
from holdfast.chunks.stored import Stored
from holdfast.chunks.write import Written, write_chunks
from holdfast.engine.base import Base, load_base, still_stored, with_bases
from holdfast.engine.job import SaveJob
from holdfast.engine.writer_lock import WriterLock
from holdfast.errors import DataError, HoldfastError, RunBusy
from holdfast.format import commit as commit_format
from holdfast.format import part as part_format
from holdfast.format.commit import CommitRecord, Link, PartRef
from holdfast.format.digests import digest
from holdfast.format.names import RunKeys, checkpoint_of
from holdfast.history.chain import linked
from holdfast.history.sweep import sweep_debris
from holdfast.plan.carrying import CarriedPack, chunks_to_move, repeated_bytes
from holdfast.plan.elements import elements_of_chunks
from holdfast.records import commits, keyrings, pins, tags
from holdfast.records.commits import DamagedCommit
from holdfast.records.rewriting import alone
from holdfast.records.visible import wait_until_seen
from holdfast.sealed.store import SealedStore
from holdfast.security.authenticity import NOBODY, Authenticity
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")

PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Saved:
    """A committed checkpoint, the bytes of its commit, where each of its chunks lies, in order."""

    record: CommitRecord
    commit: bytes = field(repr=False)
    places: list[Stored] = field(repr=False)
    tag_error: HoldfastError | None = None


class RunWriter:
    """Owns a run while it is written. Not thread-safe: one save at a time."""

    def __init__(
        self,
        store: ObjectStore,
        run: str,
        *,
        authenticity: Authenticity = NOBODY,
        compress: Compress = "none",
        threads: int | None = None,
    ) -> None:
        self.store = store
        self.run = run
        self._deltas = Deltas(store) if compress == "delta" else None
        self._encoder = Encoder(compress, deltas=self._deltas) if compress != "none" else None
        self._ages = Ages()
        self.authenticity = authenticity
        self._keys = RunKeys(run)
        self._lock = WriterLock(store, run)
        self._threads = threads
        self._base: Base | None = None
        self._previous: Link | None = None
        self._next_seq = 1
        # Saves that failed when their commit was there already, so that it may count or not.
        self._in_doubt: set[str] = set()
        self._turn = 0
        self._has_unnamed = False
        self._known_finite: Known = {}

    def open(self, owner_pid: int) -> None:
        """Take the run's lock, clear away what dead writers left, and find the newest checkpoint.

        Raises:
            RunBusy: Another live process writes the run.
        """
        self._lock.acquire(owner_pid, patience_s=PATIENCE_S)
        try:
            self._look_around()
        except BaseException:
            self._lock.release()
            raise

    def _look_around(self) -> None:
        numbers = commits.sequence_numbers(self.store, self.run)
        self._next_seq = numbers[-1] + 1 if numbers else 1
        sweep_debris(self.store, self.run)
        self._give_missing_names()
        if self._deltas is not None:
            for good in commits.good_commits(self.store, self.run):
                self._ages.note(good.id, good.seq)
        for seq in reversed(numbers):
            found = self._believed(seq)
            if found is None:
                continue
            self._previous = self._previous or found.link
            record = found if found.parts else None
            if record is None:
                continue  # It is too new to be built on; it was there all the same.
            self._base = load_base(self.store, record)
            if self._base is not None:
                break

    def _believed(self, seq: int) -> CommitRecord | None:
        """Return a commit that is trusted, or None; of one that is too new a stand-in."""
        found: CommitRecord | DamagedCommit
        try:
            found = commits.read_commit(self.store, self.run, seq)
        except DataError as error:
            found = DamagedCommit(self._keys.commit(seq), seq, error)
        known = linked(self.run, [found], self.authenticity.trust)
        return known[0] if known else None

    @property
    def newest_id(self) -> str | None:
        """Id of the newest checkpoint that a save may build on, or None."""
        return self._base.checkpoint_id if self._base is not None else None

    def close(self) -> None:
        """Give the run back."""
        self._lock.release()

    def save(
        self,
        job: SaveJob,
        source: ChunkSource,
        unchanged: Callable[[], Mapping[int, Stored]] = dict,
    ) -> Saved:
        """Write a checkpoint and commit it; it is durable on return.

        Args:
            job: What to write.
            source: The bytes of its chunks.
            unchanged: Tells, once all chunks have arrived, where those are stored, by index, that
                have not changed since the writer's last save.

        Raises:
            RunBusy: Another writer has committed to the run.
            KeyNeeded: The keys of the store were changed, and nobody could read it.
            NoSpace, StoreUnavailable: Nothing was committed.
        """
        if self._base is not None and self._base.checkpoint_id == job.id:
            return self._saved_already(job, self._base)
        if isinstance(self.store, SealedStore):
            keyrings.follow(self.store)
        base = self._without_remains(self._without_damage(self._pinned_base(job)))
        parts: list[PartRef] = []
        may_come_yet = False
        look = self._look_of(job)
        not_finite: list[int | None] = []

        def manifest(written: Written) -> tuple[str, bytes]:
            if look is not None:
                digests = [place.digest for place in written.places]
                not_finite.extend(look.counts(digests, self._content(job, source)))
                self._known_finite = look.learnt(digests)
            data = part_format.complete(job.plan, *written.tables(), not_finite)
            parts.append(PartRef(0, self._keys.part(job.id, 0), digest(data), len(data)))
            return parts[0].key, data

        try:
            written = write_chunks(
                self.store,
                job.layout,
                source,
                pack_key=lambda number: self._keys.pack(job.id, number),
                manifest=manifest,
                known=base.chunks if base is not None else {},
                unchanged=lambda: still_stored(unchanged(), base),
                is_intact=None if base is None or base.is_ours else self._is_intact,
                look=look.look if look is not None else None,
                encoder=self._ready_encoder(job, base),
                threads=self._threads,
            )
            if self._encoder is not None:
                self._encoder.end()
            try:
                total = sum(filter(None, not_finite)) if look is not None else None
                data = self._commit(job, parts, written, total)
            except HoldfastError as error:
                self._in_doubt.add(job.id)
                # A server may carry out what nobody waits for any more. What the commit would name
                # stays pinned, and goes when the run is opened again.
                may_come_yet = bool(error.facts.get("in_doubt"))
                if not may_come_yet:
                    taken = isinstance(error, RunBusy)
                    self._take_back(job, written, parts, number_is_taken=taken)
                raise
            record = commit_format.decode(data, what="a new commit")
            # Before the pin goes: a sweep that sees neither would take the packs for debris.
            wait_until_seen(self.store, self._keys.commit(record.seq))
            self._require_pin(record)
        finally:
            if not may_come_yet:
                self._unpin(job)
        self._previous = record.link
        self._base = Base(
            record.seq,
            record.id,
            tuple(part.key for part in record.parts),
            with_bases(written.places),
            is_ours=True,
            written_bytes=record.stored_bytes,
            places=written.places,
        )
        self._ages.note(record.id, record.seq)
        return Saved(record, data, list(written.places), self._tag(job, record))

    def _look_of(self, job: SaveJob) -> FiniteLook | None:
        if not job.check_finite:
            return None
        arrays = part_format.planned_arrays(job.plan)
        return FiniteLook(arrays, job.layout.lengths, self._known_finite)

    @staticmethod
    def _content(job: SaveJob, source: ChunkSource) -> Callable[[int], memoryview]:
        return lambda chunk: source.acquire(chunk)[: job.layout.lengths[chunk]]

    def _saved_already(self, job: SaveJob, base: Base) -> Saved:
        """Answer for a writer that died between its commit and its answer."""
        key = self._keys.commit(base.seq)
        # Once more, in one step: it may not have been durable yet.
        with alone(self.store, self.run):
            data = self.store.get(key)
            self.store.put(key, data)
        record = commits.read_commit(self.store, self.run, base.seq)
        return Saved(record, data, [], self._tag(job, record))

    def _pinned_base(self, job: SaveJob) -> Base | None:
        base = self._base
        pins.put_pin(self.store, self.run, pins.Pin(job.id, base.part_keys if base else ()))
        # After the pin is visible, not before: see records.pins.
        if base is not None and not self.store.exists(self._keys.commit(base.seq)):
            base = self._base = None
        return base

    def _ready_encoder(self, job: SaveJob, base: Base | None) -> Encoder | None:
        if self._encoder is not None:
            rows, lengths = part_format.arrays_of_plan(job.plan), job.layout.lengths
            found: dict[int, Origin] = {}
            if self._deltas is not None and base is not None:
                found = origins(base.places, lengths, base.chunks, self._ages)
            self._encoder.begin(elements_of_chunks(rows, lengths), lengths, found)
        return self._encoder

    def _commit(
        self, job: SaveJob, parts: Sequence[PartRef], written: Written, not_finite: int | None
    ) -> bytes:
        if self._has_unnamed and job.versions:
            self._give_missing_names()
        # What is not finite is never the best of anything.
        versions = () if not_finite else job.versions
        names = tuple(tags.next_version(self.store, self.run, base) for base in versions)
        while True:
            record = CommitRecord(
                run=self.run,
                step=job.step,
                id=job.id,
                seq=self._next_seq,
                # A clock from before the epoch must not cost the checkpoint.
                created_ns=max(time.time_ns(), 0),
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
                format=part_format.format_of(written.places),
            )
            data = commit_format.encode(record, self.authenticity.sign)
            # The commit record goes last: its presence is the commit.
            if self.store.put_new(self._keys.commit(record.seq), data):
                self._next_seq = record.seq + 1
                return data
            own = self._own(record.seq)
            if own is None:
                self._refuse(record)
            self._previous = own.link
            self._next_seq = record.seq + 1

    def _own(self, seq: int) -> CommitRecord | None:
        """Return the commit that took a number if it is of a save of ours that failed yet."""
        try:
            record = commits.read_commit(self.store, self.run, seq)
        except DataError:
            return None
        return record if record.id in self._in_doubt else None

    def _take_back(
        self, job: SaveJob, written: Written, parts: Sequence[PartRef], *, number_is_taken: bool
    ) -> None:
        """Delete what was written for a commit that did not come about."""
        with contextlib.suppress(HoldfastError):
            # It may have come about all the same, and only its sync have failed.
            if not number_is_taken and commits.is_listed(
                self.store, self.run, self._next_seq, job.id
            ):
                return
            packs = {place.pack_key for place in written.places}
            own = [key for key in packs if checkpoint_of(key) == job.id]
            self.store.delete([*own, *(part.key for part in parts)])

    def _refuse(self, record: CommitRecord) -> NoReturn:
        raise RunBusy(
            f"Another process committed a checkpoint to the run {self.run!r} meanwhile (number "
            f"{record.seq}). Step {record.step} was not saved by this one; the other's checkpoints "
            "are intact. Give one of the two runs another name.",
            run=self.run,
            step=record.step,
        )

    def _require_pin(self, record: CommitRecord) -> None:
        """Take a commit back if another writer has thought us dead, and may have swept its packs.

        Between processes of one machine the lock keeps that from happening.
        """
        # After the commit is visible, not before: see records.pins.
        if pins.is_pinned(self.store, self.run, record.id):
            return
        self.store.delete([self._keys.commit(record.seq)])
        raise RunBusy(
            f"Another process took over the run {self.run!r} while step {record.step} was being "
            "saved by this one. That step was not saved; the other's checkpoints, and those that "
            "were committed before, are intact. Give one of the two runs another name.",
            run=self.run,
            step=record.step,
        )

    def _tag(self, job: SaveJob, record: CommitRecord) -> HoldfastError | None:
        try:
            if job.tag is not None:
                tags.put_tag(self.store, self.run, job.tag, job.id)
            for name in record.names:
                tags.put_name(self.store, self.run, name, record.id)
        except HoldfastError as error:
            self._has_unnamed = True
            return error
        return None

    def _give_missing_names(self) -> None:
        """Give checkpoints the names that their commits tell of, where a writer died before."""
        self._has_unnamed = True
        try:
            tags.put_missing_names(self.store, self.run, commits.good_commits(self.store, self.run))
            self._has_unnamed = False
        except HoldfastError as error:
            _log.warning("A checkpoint of run %r waits for its name: %s", self.run, error)

    def _unpin(self, job: SaveJob) -> None:
        try:
            pins.delete_pin(self.store, self.run, job.id)
        except HoldfastError as error:
            _log.warning("The pin of a save stays until the run is opened again: %s", error)

    def _without_damage(self, base: Base | None) -> Base | None:
        """Read a pack that was carried over again, another one each time; forget what is damaged.

        A frozen leaf is stored once and referred to for as long as training lasts. A bit of it that
        flips on the disk meanwhile shall not spoil every checkpoint to come.
        """
        if base is None or not base.is_ours:
            return base
        carried = {place.pack_key for place in base.chunks.values()}
        carried = {key for key in carried if checkpoint_of(key) != base.checkpoint_id}
        if not carried:
            return base
        key = sorted(carried)[self._turn % len(carried)]
        self._turn += 1
        of_pack = [place for place in base.chunks.values() if place.pack_key == key]
        bad = {place.digest for place in of_pack if not self._is_intact(place)}
        if not bad:
            return base
        _log.warning(
            "%d chunk(s) in %s are damaged or gone. They are written again; checkpoints before "
            "this one stay damaged: 'holdfast verify' tells which.",
            len(bad),
            key,
        )
        good = {n: at for n, at in base.chunks.items() if not bad & _named_by(at)}
        return replace(base, chunks=good)

    def _without_remains(self, base: Base | None) -> Base | None:
        """Forget chunks that are better written again: see plan.carrying."""
        if base is None:
            return None
        move = self._chunks_to_move(base)
        tiny = repeated_bytes([place.length for place in base.chunks.values()])
        kept = {
            name: place
            for name, place in base.chunks.items()
            if place.length > tiny and not move & _named_by(place)
        }
        return replace(base, chunks=kept)

    def _chunks_to_move(self, base: Base) -> set[bytes]:
        carried: dict[str, list[Stored]] = {}
        for place in base.chunks.values():
            if checkpoint_of(place.pack_key) != base.checkpoint_id:
                carried.setdefault(place.pack_key, []).append(place)
        if not carried:
            return set()
        there = {checkpoint_of(info.key) for info in self.store.list(self._keys.parts)}
        old = [
            CarriedPack(of_pack[0].pack_length, {at.digest: at.stored_length for at in of_pack})
            for key, of_pack in carried.items()
            if checkpoint_of(key) not in there
        ]
        return chunks_to_move(old, base.written_bytes)

    def _is_intact(self, place: Stored) -> bool:
        return fetch_chunk(self.store, place.read()) is not None


def _named_by(place: Stored) -> set[bytes]:
    """Return the digests of a chunk, and of what it is a difference from."""
    return {place.digest} | ({place.base.digest} if place.base is not None else set())
