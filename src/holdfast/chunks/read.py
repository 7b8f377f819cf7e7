"""Chunks out of the store: every one is checked before its bytes count.

Memory that stands (a model's own tensors) is not touched before all that goes there is known to
be good, and is put back if it turns out not to be (docs/adr/0004):

1. Chunks that are in the page cache are checked where they are, into a scratch buffer that stays
   in the processor's cache. Sealed ones are opened into memory that the caller lends.
2. Chunks that must come from the disk are read past the cache into memory that the caller lends
   (the arena of a ``Checkpointer``), and checked there. While the disk brings more, some of them
   are exchanged with what is at their places (``chunks.staging``). Without such memory they are
   read and checked, and then read a second time.
3. Only then the chunks of 1, and the rest of 2, are copied to their places.

Where the memory is new, none of this is needed: it is read into directly, and checked there.

Of a chunk of which little is wanted, blocks are read and checked in place of all of it, each run of
them as if it were a chunk (``chunks.blocks``).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from holdfast.chunks.batch import (
    Batch,
    ChunkRead,
    batches,
    by_pack,
    plain_bytes,
    stored_bytes,
)
from holdfast.chunks.blocks import by_blocks
from holdfast.chunks.checked import Checked
from holdfast.chunks.crew import Crew
from holdfast.chunks.staging import Staging, copy_held
from holdfast.chunks.ways import Ways
from holdfast.errors import HoldfastError, RestoreIncomplete
from holdfast.plan.layout import CHUNK_ALIGNMENT, align
from holdfast.store.contract import ObjectStore

# Threads that wait for the disk cost nothing; those that copy memory get in each other's way.
_DISK_THREADS = 8
_MEMORY_THREADS = min(8, os.cpu_count() or 1)
# Each has memory of its own under way, which was lent: while some check it, the disk has enough.
_STAGING_THREADS = 16
# Of memory that is lent, this part may be taken besides.
_MORE = 8


@dataclass(frozen=True, slots=True)
class ReadBytes:
    """How much a restore read, and how much of that it was for.

    Attributes:
        read: Bytes of packs that were read. What is read once more, since there was no memory to
            keep it while the rest was checked, counts once.
        wanted: Bytes that went to their places.
    """

    read: int = 0
    wanted: int = 0


NOTHING_READ = ReadBytes()


def read_chunks(
    store: ObjectStore,
    reads: Sequence[ChunkRead],
    *,
    ref: str,
    full: bool = False,
    spare: memoryview | None = None,
    progress: Callable[[int], None] | None = None,
    all_good: Callable[[], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ReadBytes:
    """Read chunks to where they go, all checked; return how much that was.

    Args:
        store: Where from.
        reads: The chunks and their targets.
        ref: The checkpoint, for error messages.
        full: Check BLAKE3 digests instead of XXH3 checksums; chunks are read whole then.
        spare: Memory to keep chunks in that come from the disk until all is good. Without it they
            are read twice.
        progress: Called with the bytes of each chunk or run of blocks that is done; from several
            threads.
        all_good: Called once all chunks are known to be good, before what is changed cannot be
            put back any more.
        should_stop: Asked now and then, until ``all_good``, whether to leave off.

    Raises:
        ChunkDamaged, ChunkMissing, StoreUnavailable: Some chunk is not good. Memory that stood
            is as it was.
        RestoreIncomplete: A chunk that was good a moment ago could not be read again.
        KeyboardInterrupt: It should stop. Memory that stood is as it was.
    """
    checked = Checked(store, ref, full=full)
    lent = spare if spare is not None else memoryview(b"")
    # An arena has room for the state; what is rounded out to blocks is a little more.
    staging = Staging(lent, more_bytes=lent.nbytes // _MORE)
    ways = Ways(checked, staging, progress or (lambda n: None))
    # The readers are closed last: after an error, threads may still be at work.
    with (
        checked.closing(),
        ThreadPoolExecutor(_MEMORY_THREADS, "holdfast-copy") as memory,
        ThreadPoolExecutor(_DISK_THREADS, "holdfast-read") as disk,
        ThreadPoolExecutor(_STAGING_THREADS, "holdfast-stage") as lending,
    ):
        pools = _Pools(memory, disk, lending)
        session = _Session(checked, staging, ways, pools, should_stop or (lambda: False))
        session.run(by_blocks(store, reads, full=full), all_good or (lambda: None))
    wanted = sum(target.into.nbytes for read in reads for target in read.targets)
    return ReadBytes(checked.count.nbytes, wanted)


class _Pools(NamedTuple):
    """Threads for what wants processors, for what waits for the disk, and for what is staged."""

    memory: Executor
    disk: Executor
    lending: Executor


class _Session:
    """One restore: which way each chunk is read, and in which pool."""

    def __init__(
        self,
        checked: Checked,
        staging: Staging,
        ways: Ways,
        pools: _Pools,
        should_stop: Callable[[], bool],
    ) -> None:
        self._checked, self._staging, self._ways = checked, staging, ways
        self._memory, self._disk, self._lending = pools
        self._crew = Crew(should_stop)

    def run(self, reads: Sequence[ChunkRead], all_good: Callable[[], object]) -> None:
        try:
            cached, batches_left = self._check(reads)
            all_good()
            self._checked.count.stop()
            self._crew = Crew(lambda: False)
        except BaseException:
            # Nobody may write any more when the old content is put back.
            self._crew.stop()
            self._staging.put_back()
            raise
        self._put_in_place(cached, batches_left)

    def _put_in_place(self, cached: Sequence[ChunkRead], batches_left: Sequence[Batch]) -> None:
        """Bring what is known to be good to where it goes."""
        try:
            self._crew.start(self._memory, self._ways.copy_cached, cached)
            # What comes out of a codec wants processors, not the disk.
            for batch in batches_left:
                pool = self._memory if plain_bytes(batch) else self._disk
                self._crew.start(pool, self._ways.put_in_place, [batch])
            self._crew.finish()
            # Last: nothing can go wrong with what is in memory.
            self._crew.start(self._memory, copy_held, self._staging.take())
            self._crew.finish()
        except HoldfastError as error:
            self._staging.put_back()
            raise self._incomplete(error) from error
        except BaseException:
            self._crew.stop()
            raise

    def _incomplete(self, error: HoldfastError) -> RestoreIncomplete:
        ref = self._checked.ref
        return RestoreIncomplete(
            f"{ref} was good a moment ago, but reading it again failed: {error} Some tensors have "
            "its values, others do not: do not go on with this model. Restore again, or start the "
            "process anew.",
            ref=ref,
        )

    def _check(self, reads: Sequence[ChunkRead]) -> tuple[list[ChunkRead], list[Batch]]:
        """Check all; return what is still to be put into place, from the cache and otherwise."""
        cached, others = self._by_residency(reads)
        standing = [read for read in cached if read.in_place]
        new = [read for read in cached if not read.in_place]
        left = self._start_reading(others, self._disk)
        # To open or decode a chunk twice costs more than to keep it aside.
        if self._checked.form.is_sealed:
            left += self._start_reading(self._start_opening(standing), self._memory)
            standing = []
        if once := [read for read in standing if read.row.codec]:
            left += self._start_reading(once, self._memory)
            standing = [read for read in standing if not read.row.codec]
        are_good = self._crew.start(self._memory, self._ways.is_good_in_cache, standing)
        are_there = self._crew.start(self._memory, self._ways.read_straight, new)
        self._crew.finish()
        found = list(zip([*standing, *new], [*are_good, *are_there], strict=True))
        left += self._start_reading(
            [read for read, is_done in found if not is_done.result()], self._disk
        )
        self._crew.finish()
        return [r for r, is_good in zip(standing, are_good, strict=True) if is_good.result()], left

    def _by_residency(self, reads: Sequence[ChunkRead]) -> tuple[list[ChunkRead], list[ChunkRead]]:
        """Return the chunks that are in the page cache, and the others."""

        def look(pack: Sequence[ChunkRead]) -> list[bool]:
            reader = self._checked.reader(pack[0].pack_key)
            return [reader.is_cached(read.row.offset, read.row.stored_length) for read in pack]

        packs = by_pack(reads)
        looks = self._crew.start(self._disk, look, packs)
        self._crew.finish()
        found = [
            (read, is_cached)
            for pack, answer in zip(packs, looks, strict=True)
            for read, is_cached in zip(pack, answer.result(), strict=True)
        ]
        return [read for read, yes in found if yes], [read for read, yes in found if not yes]

    def _start_reading(self, reads: Sequence[ChunkRead], pool: Executor) -> list[Batch]:
        """Start reading batches; return what will only be checked, and must be read again."""
        trailer_bytes = self._checked.form.trailer_bytes
        new = [read for read in reads if not read.in_place]
        self._crew.start(pool, self._ways.place, batches(new, trailer_bytes))
        twice: list[ChunkRead] = []
        found = deque(batches([r for r in reads if r.in_place], trailer_bytes))
        while found:
            batch = found.popleft()
            # What comes out of a codec is lent room, not what is stored.
            nbytes = plain_bytes(batch) or stored_bytes(batch, trailer_bytes)
            if nbytes <= self._staging.room:
                self._start_staging(batch, self._staging.lend(nbytes), pool)
            elif len(batch) > 1 and self._staging.room:
                # Some of it fits, perhaps.
                found.extendleft([read] for read in reversed(batch))
            else:
                twice += batch
        again = batches(twice, trailer_bytes)
        self._crew.start(pool, self._ways.look_at, again)
        return again

    def _start_staging(self, batch: Batch, lent: memoryview, pool: Executor) -> None:
        if pool is not self._disk:
            self._crew.start(pool, partial(self._ways.stage, lent), [batch])
            return
        # What comes out of a codec needs memory besides, of each thread.
        readers = pool if plain_bytes(batch) else self._lending
        self._staging.expect(1)
        self._crew.start(readers, partial(self._ways.stage_from_disk, lent), [batch])

    def _start_opening(self, reads: Sequence[ChunkRead]) -> list[ChunkRead]:
        """Start opening cached chunks into lent memory; return those that cannot be."""
        left = []
        for read in reads:
            nbytes = align(read.row.length, CHUNK_ALIGNMENT)
            is_fit = read.goes_to_one_place and not read.row.codec
            if is_fit and nbytes <= self._staging.room:
                lent = self._staging.lend(nbytes)
                self._crew.start(self._memory, partial(self._ways.open_staged, lent), [read])
            else:
                left.append(read)
        return left
