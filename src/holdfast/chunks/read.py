"""Chunks out of the store: every one is checked before its bytes count.

Memory that stands (a model's own tensors) is not touched before all that goes there is known to
be good, and is put back if it turns out not to be (docs/adr/0004):

1. Chunks that are in the page cache are checked where they are, into a scratch buffer that stays
   in the processor's cache.
2. Chunks that must come from the disk are read past the cache into memory that the caller lends
   (the arena of a ``Checkpointer``), checked, and exchanged with what is at their places. The
   disk is the bottleneck; the exchange costs nothing. Without such memory they are read and
   checked, and then read a second time.
3. Only then the chunks of 1 are copied from the page cache to their places.

Where the memory is new, none of this is needed: it is read into directly, and checked there.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Protocol, TypeVar

import xxhash
from blake3 import blake3

from holdfast.chunks.batch import Batch, ChunkRead, Stretch, Target, batches, by_pack, extent
from holdfast.chunks.undo import Undo, copy_bytes
from holdfast.errors import ChunkDamaged, HoldfastError, RestoreIncomplete
from holdfast.plan.layout import CHUNK_ALIGNMENT, CHUNK_BYTES, align
from holdfast.store.contract import ObjectReader, ObjectStore
from holdfast.store.memory_pages import private_memory

_T = TypeVar("_T")

THREADS = 8
# Small enough to stay in a core's cache between being read and being digested.
_STEP_BYTES = 1 << 20


class _Hasher(Protocol):
    def update(self, data: memoryview, /) -> object: ...

    def digest(self) -> bytes: ...


def read_chunks(
    store: ObjectStore,
    reads: Sequence[ChunkRead],
    *,
    ref: str,
    full: bool = False,
    spare: memoryview | None = None,
    progress: Callable[[int], None] | None = None,
    all_good: Callable[[], object] | None = None,
) -> None:
    """Read chunks to where they go, all checked.

    Args:
        store: Where from.
        reads: The chunks and their targets.
        ref: The checkpoint, for error messages.
        full: Check BLAKE3 digests instead of XXH3 checksums.
        spare: Memory to keep old content in while chunks come from the disk. Without it they are
            read twice.
        progress: Called with the bytes of each chunk that is done; from several threads.
        all_good: Called once all chunks are known to be good, before what is changed cannot be
            put back any more.

    Raises:
        ChunkDamaged, ChunkMissing, StoreUnavailable: Some chunk is not good. Memory that stood
            is as it was.
        RestoreIncomplete: A chunk that was good a moment ago could not be read again.
    """
    session = _Session(store, ref, full, spare, progress or (lambda n: None))
    # The readers are closed last: after an error, threads may still be at work.
    with session.closing(), ThreadPoolExecutor(THREADS, "holdfast-read") as pool:
        session.run(reads, pool, all_good or (lambda: None))


class _Session:
    def __init__(
        self,
        store: ObjectStore,
        ref: str,
        full: bool,
        spare: memoryview | None,
        progress: Callable[[int], None],
    ) -> None:
        self._store = store
        self._ref = ref
        self._full = full
        self._progress = progress
        self._readers: dict[str, ObjectReader] = {}
        self._lock = threading.Lock()
        self._local = threading.local()
        # Lists only grow, one step at a time: no lock is needed.
        self._warm: list[ChunkRead] = []
        self._cold: list[ChunkRead] = []
        self._undo = Undo(spare if spare is not None else memoryview(b""))

    def run(
        self,
        reads: Sequence[ChunkRead],
        pool: ThreadPoolExecutor,
        all_good: Callable[[], object],
    ) -> None:
        standing = by_pack([r for r in reads if r.in_place])
        new = [r for r in reads if not r.in_place]
        can_undo = self._can_undo(standing)
        try:
            _finish_all(pool, self._take_in if can_undo else self._look_at, standing)
            _finish_all(pool, self._read_new, batches(new))
            all_good()
        except BaseException:
            self._undo.put_back()
            raise
        try:
            _finish_all(pool, self._copy_cached, self._warm)
            _finish_all(pool, self._place, batches(self._cold))
        except HoldfastError as error:
            self._undo.put_back()
            raise RestoreIncomplete(
                f"{self._ref} was good a moment ago, but reading it again failed: {error} Some "
                "tensors have its values, others do not: do not go on with this model. Restore "
                "again, or start the process anew.",
                ref=self._ref,
            ) from error

    # --- the three ways to read ---

    def _take_in(self, reads: Sequence[ChunkRead]) -> None:
        """Check what is cached of a pack; read the rest from the disk to its places."""
        for batch in batches(self._not_cached(reads)):
            self._read_with_undo(batch)

    def _look_at(self, reads: Sequence[ChunkRead]) -> None:
        """Check all of a pack, to be read to its places later."""
        cold = self._not_cached(reads)
        for batch in batches(cold):
            for _ in self._load(batch, self._scratch_for(batch)):
                pass
        self._cold += cold

    def _not_cached(self, reads: Sequence[ChunkRead]) -> list[ChunkRead]:
        """Check what is in the page cache, to be copied later; return what is not there."""
        found = [(read, self._is_good_in_cache(read)) for read in reads]
        self._warm += [read for read, is_cached in found if is_cached]
        return [read for read, is_cached in found if not is_cached]

    def _is_good_in_cache(self, read: ChunkRead) -> bool:
        """Check a chunk in the page cache; False if it is not there."""
        reader = self._reader(read.pack_key)
        if not reader.is_cached(read.row.offset, read.row.length):
            return False
        scratch, hasher = self._scratch(_STEP_BYTES), self._hasher()
        for at, n in _steps(read.row.length):
            if not reader.read_cached(scratch[:n], read.row.offset + at):
                return False
            hasher.update(scratch[:n])
        self._compare(read, hasher)
        return True

    def _read_with_undo(self, batch: Batch) -> None:
        lent = self._undo.lend(extent(batch)[1])
        for read, data in self._load(batch, lent):
            own, shared = _apart(read.targets)
            for target in shared:
                self._undo.replace(target.into, _of(data, target))
            for target in own:
                self._undo.exchange(target.into, _of(data, target))
            self._progress(read.row.length)

    def _copy_cached(self, read: ChunkRead) -> None:
        """Copy a chunk that was checked to its places; check again what left the cache."""
        if not self._read_straight(read):
            self._place([read])

    def _place(self, batch: Batch) -> None:
        """Read chunks, check them, and copy them to their places."""
        for read, data in self._load(batch, self._scratch_for(batch)):
            for target in read.targets:
                copy_bytes(target.into, _of(data, target))
            self._progress(read.row.length)

    def _read_new(self, batch: Batch) -> None:
        rest = [read for read in batch if not self._read_straight(read)]
        if rest:
            self._place(rest)

    def _read_straight(self, read: ChunkRead) -> bool:
        """Read a cached chunk that goes to one place to there, and check it there."""
        reader, row, into = self._reader(read.pack_key), read.row, read.targets[0].into
        is_whole = len(read.targets) == 1 and into.nbytes == row.length
        if not is_whole or not reader.is_cached(row.offset, row.length):
            return False
        hasher = self._hasher()
        for at, n in _steps(row.length):
            if not reader.read_cached(into[at : at + n], row.offset + at):
                return False
            hasher.update(into[at : at + n])
        self._compare(read, hasher)
        self._progress(row.length)
        return True

    # --- parts of them ---

    def _load(self, batch: Batch, memory: memoryview) -> Iterator[tuple[ChunkRead, memoryview]]:
        """Read chunks that lie side by side into memory; yield the checked bytes of each."""
        stretch = Stretch(self._reader(batch[0].pack_key), batch, memory)
        if stretch.is_cut_short:
            self._refuse(batch[-1], "the pack is cut short")
        for read in batch:
            begin = read.row.offset - stretch.begin
            end = begin + read.row.length
            hasher = self._hasher()
            for piece in stretch.pieces(begin, end):
                hasher.update(piece)
            self._compare(read, hasher)
            yield read, memory[begin:end]

    def _scratch_for(self, batch: Batch) -> memoryview:
        return self._scratch(align(extent(batch)[1], CHUNK_ALIGNMENT))

    def _hasher(self) -> _Hasher:
        hasher: _Hasher = blake3() if self._full else xxhash.xxh3_128()
        return hasher

    def _compare(self, read: ChunkRead, hasher: _Hasher) -> None:
        expected = read.row.digest if self._full else read.row.check
        found = hasher.digest()
        if found != expected:
            self._refuse(read, f"digest expected {expected.hex()[:12]}…, found {found.hex()[:12]}…")

    def _refuse(self, read: ChunkRead, what: str) -> None:
        raise ChunkDamaged(
            f"Chunk {read.row.digest.hex()[:12]}… of {read.leaf!r} ({self._ref}, in "
            f"{read.pack_key}): {what}. Nothing was changed in your state. Restore another "
            "checkpoint: 'holdfast verify' tells which are good.",
            ref=self._ref,
            leaf=read.leaf,
            chunk=read.row.digest.hex(),
            key=read.pack_key,
        )

    def _can_undo(self, packs: Sequence[Sequence[ChunkRead]]) -> bool:
        found = [batch for reads in packs for batch in batches(reads)]
        return sum(align(extent(batch)[1], CHUNK_ALIGNMENT) for batch in found) <= self._undo.room

    # --- resources ---

    def _reader(self, key: str) -> ObjectReader:
        with self._lock:
            if key not in self._readers:
                self._readers[key] = self._store.open(key)
            return self._readers[key]

    def _scratch(self, nbytes: int) -> memoryview:
        """Return page-aligned memory of this thread, touched before if used before."""
        held: mmap.mmap | None = getattr(self._local, "scratch", None)
        if held is None or len(held) < nbytes:
            size = _STEP_BYTES if nbytes <= _STEP_BYTES else max(nbytes, CHUNK_BYTES)
            held = self._local.scratch = private_memory(size)
        return memoryview(held)[:nbytes]

    @contextmanager
    def closing(self) -> Iterator[None]:
        try:
            yield
        finally:
            for reader in self._readers.values():
                reader.close()


def _of(data: memoryview, target: Target) -> memoryview:
    return data[target.begin : target.begin + target.into.nbytes]


def _apart(targets: Sequence[Target]) -> tuple[list[Target], list[Target]]:
    """Return targets whose bytes of the chunk are theirs alone, and those that share some."""
    own: list[Target] = []
    shared: list[Target] = []
    end = 0
    for target in sorted(targets, key=lambda t: t.begin):
        (own if target.begin >= end else shared).append(target)
        end = max(end, target.begin + target.into.nbytes)
    return own, shared


def _steps(length: int) -> Iterator[tuple[int, int]]:
    for at in range(0, length, _STEP_BYTES):
        yield at, min(_STEP_BYTES, length - at)


def _finish_all(pool: ThreadPoolExecutor, work: Callable[[_T], None], items: Sequence[_T]) -> None:
    """Do work for every item; when one fails, the rest still ends before the error is raised."""
    futures = [pool.submit(work, item) for item in items]
    try:
        errors = [error for future in futures if (error := future.exception()) is not None]
    except BaseException:
        # Interrupted: nobody may write any more when this returns.
        for future in futures:
            future.cancel()
        wait(futures)
        raise
    if errors:
        raise errors[0]
