"""A checkpoint copied to another store as what it is: the same id, the same packs.

``Store.copy`` makes a new checkpoint, whose chunks are put into packs anew; this sends the objects
themselves. So what is there need not be sent again, whatever was interrupted; the chunks are
checked before they go, and the commit comes last, as with a save. The order, and why:

1. the pin, which names the manifests: what they name is safe from a sweep from here on;
2. the manifests; 3. the packs that are not there; 4. the commit; 5. what was written about it.

A mirror that dies leaves its pin, and what it has sent; the next one goes on with it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import final

from holdfast.chunks.batch import ChunkRead, read_of
from holdfast.chunks.check import check_chunks
from holdfast.engine.belongings import take_along
from holdfast.engine.committing import Committing
from holdfast.engine.naming import Naming
from holdfast.engine.tiers.throttle import Paced, Throttle
from holdfast.engine.writer_lock import WriterLock
from holdfast.errors import ChunkDamaged, DataError, StoreUnavailable
from holdfast.format.commit import CommitRecord, PartRef
from holdfast.format.names import RunKeys
from holdfast.format.part import Part
from holdfast.history import catalog
from holdfast.history.chain import linked
from holdfast.history.sweep import sweep_debris
from holdfast.records import commits, notes, pins, tags
from holdfast.records.commits import DamagedCommit
from holdfast.security.authenticity import Authenticity
from holdfast.store.contract import ObjectStore
from holdfast.store.memory_pages import private_memory

_ROUNDS = 3


class Stopped(Exception):
    """Whoever copies was asked to stop; what was sent stays, and is gone on with."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A checkpoint as it is in the other store, and the bytes that were sent for it."""

    record: CommitRecord
    nbytes: int


@final
class Mirror:
    """Copies checkpoints of a run to another store, one at a time.

    Args:
        source: Where they are.
        target: Where they go.
        run: The run.
        authenticity: Who signs there, and whom to believe there.
        throttle: How fast.
        should_stop: Says whether to leave off.
    """

    def __init__(
        self,
        source: ObjectStore,
        target: ObjectStore,
        run: str,
        authenticity: Authenticity,
        throttle: Throttle,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._source, self._target, self._run = source, target, run
        self._keys = RunKeys(run)
        self._authenticity = authenticity
        self._throttle = throttle
        self._should_stop = should_stop

    def copy(self, record: CommitRecord) -> Sent:
        """Copy a checkpoint; it is durable there on return.

        Raises:
            DataError: It is damaged here; it was not committed there.
            RunBusy: Somebody else writes the run there.
            StoreUnavailable, NoSpace: It is not there yet; what was sent is.
            Stopped: Likewise.
        """
        lock = WriterLock(self._target, self._run)
        lock.acquire(os.getpid(), patience_s=0.0)
        try:
            there = self._there(record)
            if there is not None and not pins.is_pinned(self._target, self._run, record.id):
                return Sent(there, 0)
            return self._copied(record, there, lock)
        finally:
            lock.release()

    def _there(self, record: CommitRecord) -> CommitRecord | None:
        found = commits.good_commits(self._target, self._run)
        return next((other for other in found if other.id == record.id), None)

    def _copied(self, record: CommitRecord, there: CommitRecord | None, lock: WriterLock) -> Sent:
        """Copy what is not there; where it is committed, what a copy before had yet to do."""
        committing = self._ready(record, lock)
        part_keys = tuple(ref.key for ref in record.parts)
        pins.put_pin(self._target, self._run, pins.Pin(record.id, part_keys))
        parts = [self._send_part(record, ref) for ref in record.parts]
        reads = _reads_by_pack(parts)
        sizes = {pack.key: pack.length for part in parts for pack in part.packs}
        sent = self._send_packs(sizes, reads)
        copied = there if there is not None else committing.adopt(record)[0]
        # Who swept before the pin was there may have taken a pack that was there already.
        for _ in range(_ROUNDS):
            more = self._send_packs(sizes, reads)
            sent += more
            if not more:
                break
        self._take_along(record, copied)
        # Last: while it is there, whoever comes next does the rest.
        pins.delete_pin(self._target, self._run, record.id)
        catalog.note(self._target, self._run)
        return Sent(copied, sent)

    def _take_along(self, record: CommitRecord, copied: CommitRecord) -> None:
        tags.put_missing_names(self._target, self._run, [copied])
        # Notes add up, and come last: where there are any, all is there.
        if copied.id not in notes.of_run(self._target, self._run):
            take_along(self._source, record, self._target, copied)

    def _ready(self, record: CommitRecord, lock: WriterLock) -> Committing:
        """Clear away what others have left, and find the commit that the next one follows."""
        numbers = commits.sequence_numbers(self._target, self._run)
        sweep_debris(self._target, self._run, go_on_with={record.id})
        naming = Naming(self._target, self._run)
        committing = Committing(self._target, self._run, self._authenticity, naming, lock.taken_by)
        committing.go_on_after(numbers)
        for seq in reversed(numbers):
            found: CommitRecord | DamagedCommit
            try:
                found = commits.read_commit(self._target, self._run, seq)
            except DataError as error:
                found = DamagedCommit(self._keys.commit(seq), seq, error)
            if before := linked(self._run, [found], self._authenticity.trust):
                committing.link_to(before[0].link)
                break
        return committing

    def _send_part(self, record: CommitRecord, ref: PartRef) -> Part:
        part = commits.read_part(self._source, record, ref)
        self._target.put(ref.key, self._source.get(ref.key))
        return part

    def _send_packs(self, sizes: dict[str, int], reads: dict[str, list[ChunkRead]]) -> int:
        """Send the packs that are not there, or not whole; return how many bytes that were."""
        there = {info.key: info.size for info in self._target.list(self._keys.packs)}
        absent = [key for key, size in sizes.items() if there.get(key) != size]
        for key in absent:
            if self._should_stop():
                raise Stopped
            self._send_pack(key, sizes[key], reads.get(key, []))
        return sum(sizes[key] for key in absent)

    def _send_pack(self, key: str, size: int, reads: Sequence[ChunkRead]) -> None:
        self._require_good(reads)
        data = memoryview(private_memory(size))[:size]
        with closing(self._source.open(key)) as reader:
            if reader.size != size:
                raise ChunkDamaged(
                    f"The pack {key!r} has {reader.size} bytes, not {size}. Nothing was committed "
                    "to the other store.",
                    key=key,
                )
            reader.read(data, 0)
        staged = self._target.stage(key, Paced(data, self._throttle))
        if staged.size != size:
            self._target.discard([staged])
            raise StoreUnavailable(f"Only {staged.size} of {size} bytes of {key!r} were sent.")
        self._target.publish([staged])

    def _require_good(self, reads: Sequence[ChunkRead]) -> None:
        """Raise where a chunk is not good: damage shall not become a second copy."""
        problems: list[str] = []
        lock = threading.Lock()

        def note(read: ChunkRead, problem: str | None) -> None:
            if problem is not None:
                with lock:
                    problems.append(problem)

        check_chunks(self._source, reads, note)
        if problems:
            raise ChunkDamaged(
                f"{problems[0]} It was not copied to the other store. 'holdfast verify' tells "
                "what is damaged.",
                key=reads[0].pack_key,
            )


def _reads_by_pack(parts: Sequence[Part]) -> dict[str, list[ChunkRead]]:
    """Return the chunks that a checkpoint needs, by the pack that they are in, each once."""
    found: dict[str, dict[int, ChunkRead]] = {}
    for part in parts:
        for row in part.chunks:
            key = part.packs[row.pack].key
            found.setdefault(key, {})[row.offset] = read_of(part, row)
    return {key: list(by_offset.values()) for key, by_offset in found.items()}
