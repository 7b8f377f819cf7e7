"""Chunks out of the store: every one is checked before its bytes count.

Memory that stands (a model's own tensors) is not touched before all that goes there is known to
be good, and is put back if it turns out not to be (docs/adr/0004):

1. Chunks that are in the page cache are checked where they are, into a scratch buffer that stays
   in the processor's cache. Sealed ones are opened to their places at once, and what is there is
   kept in memory that the caller lends.
2. Chunks that must come from the disk are read past the cache into memory that the caller lends
   (the arena of a ``Checkpointer``), checked, and exchanged with what is at their places. The
   disk is the bottleneck; the exchange costs nothing. Without such memory they are read and
   checked, and then read a second time.
3. Only then the chunks of 1 are copied from the page cache to their places.

Where the memory is new, none of this is needed: it is read into directly, and checked there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import xxhash

from holdfast.chunks.bases import Bases
from holdfast.chunks.batch import (
    Batch,
    ChunkRead,
    Stretch,
    batches,
    by_pack,
    extent,
    plain_bytes,
)
from holdfast.chunks.codecs.errors import Undecodable
from holdfast.chunks.crew import Crew
from holdfast.chunks.form import Hasher, NoDigest, form_of
from holdfast.chunks.targets import apart, of
from holdfast.chunks.undo import Undo, copy_bytes
from holdfast.errors import ChunkDamaged, HoldfastError, RestoreIncomplete
from holdfast.plan.layout import CHUNK_ALIGNMENT, CHUNK_BYTES, align
from holdfast.security.seal import Unsealable
from holdfast.store.contract import ObjectReader, ObjectStore
from holdfast.store.scratch import Scratch

# Threads that wait for the disk cost nothing; those that copy memory get in each other's way.
_DISK_THREADS = 8
_MEMORY_THREADS = min(8, os.cpu_count() or 1)
# Small enough to stay in a core's cache between being read and being digested.
_STEP_BYTES = 1 << 20


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
        should_stop: Asked now and then, until ``all_good``, whether to leave off.

    Raises:
        ChunkDamaged, ChunkMissing, StoreUnavailable: Some chunk is not good. Memory that stood
            is as it was.
        RestoreIncomplete: A chunk that was good a moment ago could not be read again.
        KeyboardInterrupt: It should stop. Memory that stood is as it was.
    """
    session = _Session(
        store, ref, full, spare, progress or (lambda n: None), should_stop or (lambda: False)
    )
    # The readers are closed last: after an error, threads may still be at work.
    with (
        session.closing(),
        ThreadPoolExecutor(_MEMORY_THREADS, "holdfast-copy") as memory,
        ThreadPoolExecutor(_DISK_THREADS, "holdfast-read") as disk,
    ):
        session.run(reads, memory, disk, all_good or (lambda: None))


class _Session:
    def __init__(
        self,
        store: ObjectStore,
        ref: str,
        full: bool,
        spare: memoryview | None,
        progress: Callable[[int], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._store = store
        self._form = form_of(store)
        self._bases = Bases(store)
        self._ref = ref
        self._full = full
        self._progress = progress
        self._readers: dict[str, ObjectReader] = {}
        self._lock = threading.Lock()
        self._memory = Scratch(CHUNK_BYTES, least=_STEP_BYTES)
        self._crew = Crew(should_stop)
        self._undo = Undo(spare if spare is not None else memoryview(b""))

    def run(
        self,
        reads: Sequence[ChunkRead],
        memory: Executor,
        disk: Executor,
        all_good: Callable[[], object],
    ) -> None:
        try:
            cached, batches_left = self._check(reads, memory, disk)
            all_good()
            self._crew = Crew(lambda: False)
        except BaseException:
            # Nobody may write any more when the old content is put back.
            self._crew.stop()
            self._undo.put_back()
            raise
        try:
            self._crew.start(memory, self._copy_cached, cached)
            # What comes out of a codec wants processors, not the disk.
            for batch in batches_left:
                self._crew.start(
                    memory if plain_bytes(batch) else disk, self._put_in_place, [batch]
                )
            self._crew.finish()
        except HoldfastError as error:
            self._undo.put_back()
            raise RestoreIncomplete(
                f"{self._ref} was good a moment ago, but reading it again failed: {error} Some "
                "tensors have its values, others do not: do not go on with this model. Restore "
                "again, or start the process anew.",
                ref=self._ref,
            ) from error
        except BaseException:
            self._crew.stop()
            raise

    def _check(
        self, reads: Sequence[ChunkRead], memory: Executor, disk: Executor
    ) -> tuple[list[ChunkRead], list[Batch]]:
        """Check all; return what is still to be put into place, from the cache and otherwise."""
        cached, others = self._by_residency(reads, disk)
        standing = [read for read in cached if read.in_place]
        new = [read for read in cached if not read.in_place]
        left = self._start_reading(others, disk)
        # To open or decode a chunk twice costs more than to keep the old content aside.
        if self._form.is_sealed:
            left += self._start_reading(self._start_opening(standing, memory), memory)
            standing = []
        if once := [read for read in standing if read.row.codec]:
            left += self._start_reading(once, memory)
            standing = [read for read in standing if not read.row.codec]
        are_good = self._crew.start(memory, self._is_good_in_cache, standing)
        are_there = self._crew.start(memory, self._read_straight, new)
        self._crew.finish()
        found = list(zip([*standing, *new], [*are_good, *are_there], strict=True))
        left += self._start_reading([read for read, is_done in found if not is_done.result()], disk)
        self._crew.finish()
        return [r for r, is_good in zip(standing, are_good, strict=True) if is_good.result()], left

    def _by_residency(
        self, reads: Sequence[ChunkRead], disk: Executor
    ) -> tuple[list[ChunkRead], list[ChunkRead]]:
        """Return the chunks that are in the page cache, and the others."""

        def look(pack: Sequence[ChunkRead]) -> list[bool]:
            reader = self._reader(pack[0].pack_key)
            return [reader.is_cached(read.row.offset, read.row.stored_length) for read in pack]

        packs = by_pack(reads)
        looks = self._crew.start(disk, look, packs)
        self._crew.finish()
        found = [
            (read, is_cached)
            for pack, answer in zip(packs, looks, strict=True)
            for read, is_cached in zip(pack, answer.result(), strict=True)
        ]
        return [read for read, yes in found if yes], [read for read, yes in found if not yes]

    def _start_reading(self, reads: Sequence[ChunkRead], pool: Executor) -> list[Batch]:
        """Start reading batches; return what will only be checked, and must be read again."""
        trailer_bytes = self._form.trailer_bytes
        new = [read for read in reads if not read.in_place]
        self._crew.start(pool, self._place, batches(new, trailer_bytes))
        again = []
        for batch in batches([r for r in reads if r.in_place], trailer_bytes):
            # What comes out of a codec is lent room, not what is stored.
            nbytes = plain_bytes(batch) or align(extent(batch, trailer_bytes)[1], CHUNK_ALIGNMENT)
            if nbytes <= self._undo.room:
                lent = self._undo.lend(nbytes)
                self._crew.start(pool, partial(self._read_with_undo, lent), [batch])
            else:
                again.append(batch)
        self._crew.start(pool, self._look_at, again)
        return again

    def _start_opening(self, reads: Sequence[ChunkRead], pool: Executor) -> list[ChunkRead]:
        """Start opening cached chunks straight to where they go; return those that cannot be."""
        left = []
        for read in reads:
            nbytes = align(read.row.length, CHUNK_ALIGNMENT)
            is_fit = read.goes_to_one_place and not read.row.codec
            if is_fit and nbytes <= self._undo.room:
                self._crew.start(
                    pool, partial(self._open_with_undo, self._undo.lend(nbytes)), [read]
                )
            else:
                left.append(read)
        return left

    # --- the ways to read ---

    def _look_at(self, batch: Batch) -> None:
        """Check chunks that will be read to their places later."""
        nbytes = extent(batch, self._form.trailer_bytes)[1]
        for _ in self._load(batch, self._scratch(align(nbytes, CHUNK_ALIGNMENT))):
            pass

    def _is_good_in_cache(self, read: ChunkRead) -> bool:
        """Check a chunk in the page cache; False if it is not there."""
        reader = self._reader(read.pack_key)
        if not reader.is_cached(read.row.offset, read.row.length):
            return False
        scratch, hasher = self._scratch(_STEP_BYTES), self._hasher(read)
        for at, n in _steps(read.row.length):
            if not reader.read_cached(scratch[:n], read.row.offset + at):
                return False
            hasher.update(scratch[:n])
        self._compare(read, hasher)
        return True

    def _read_with_undo(self, lent: memoryview, batch: Batch) -> None:
        """Read chunks into lent memory, check them, and exchange them with what is there."""
        memory, plain = self._scratch_for(batch, lent)
        for read, data in self._load(batch, memory, plain):
            own, shared = apart(read.targets)
            for target in shared:
                self._undo.replace(target.into, of(data, target))
            for target in own:
                self._undo.exchange(target.into, of(data, target))
            self._progress(read.row.length)

    def _open_with_undo(self, lent: memoryview, read: ChunkRead) -> None:
        """Open a sealed chunk to its place, whose old content is kept in lent memory, and check it.

        It is opened step by step out of the processor's cache, so that its bytes take the way
        through memory once. That they are good is known when the last of them is there.
        """
        reader, row, into = self._reader(read.pack_key), read.row, read.targets[0].into
        hasher, scratch = self._hasher(read), self._scratch(_STEP_BYTES)
        trailer = memoryview(bytearray(self._form.trailer_bytes))
        if row.offset + row.length + trailer.nbytes > reader.size:
            self._refuse(read, "the pack is cut short")
        _read(reader, trailer, row.offset + row.length)
        with self._refusing(read):
            opener = self._form.opener(row.digest, trailer)
            for at, n in _steps(row.length):
                piece = into[at : at + n]
                _read(reader, scratch[:n], row.offset + at)
                self._undo.keep(piece, lent[at : at + n])
                opener.add(scratch[:n], piece)
                hasher.update(piece)
            opener.finish()
        self._compare(read, hasher)
        self._progress(row.length)

    def _copy_cached(self, read: ChunkRead) -> None:
        """Copy a chunk that was checked to its places; check again what left the cache."""
        if not self._read_straight(read):
            self._place([read])

    def _put_in_place(self, batch: Batch) -> None:
        """Read chunks that were checked to their places; nobody needs what is there any more."""
        straight = [read for read in batch if read.row.codec and read.goes_to_one_place]
        others = [read for read in batch if not (read.row.codec and read.goes_to_one_place)]
        for read in straight:
            self._decode_straight(read)
        for rest in batches(others, self._form.trailer_bytes):
            self._place(rest)

    def _place(self, batch: Batch) -> None:
        """Read chunks, check them, and copy them to their places."""
        for read, data in self._load(batch, *self._scratch_for(batch)):
            for target in read.targets:
                copy_bytes(target.into, of(data, target))
            self._progress(read.row.length)

    def _read_straight(self, read: ChunkRead) -> bool:
        """Read a cached chunk that goes to one place to there, and check it there; or say no."""
        reader, row, into = self._reader(read.pack_key), read.row, read.targets[0].into
        if not read.goes_to_one_place or not reader.is_cached(row.offset, row.stored_length):
            return False
        if row.codec:
            self._decode_straight(read)
        elif not self._fill_from_cache(read, reader, into):
            return False
        else:
            self._progress(row.length)
        return True

    def _decode_straight(self, read: ChunkRead) -> None:
        """Decode a chunk that goes to one place to there, and check it there."""
        nbytes = extent([read], self._form.trailer_bytes)[1]
        memory = self._scratch(align(nbytes, CHUNK_ALIGNMENT))
        for _ in self._load([read], memory, read.targets[0].into):
            self._progress(read.row.length)

    def _fill_from_cache(self, read: ChunkRead, reader: ObjectReader, into: memoryview) -> bool:
        """Read a chunk, opened step by step in the processor's cache, and check it; or say no."""
        row, hasher = read.row, self._hasher(read)
        scratch = self._scratch(_STEP_BYTES)
        trailer = memoryview(bytearray(self._form.trailer_bytes))
        if trailer and not reader.read_cached(trailer, row.offset + row.length):
            return False
        with self._refusing(read):
            opener = self._form.opener(row.digest, trailer)
            for at, n in _steps(row.length):
                piece = into[at : at + n]
                stored = scratch[:n] if self._form.is_sealed else piece
                if not reader.read_cached(stored, row.offset + at):
                    return False
                opener.add(stored, piece)
                hasher.update(piece)
            opener.finish()
        self._compare(read, hasher)
        return True

    # --- parts of them ---

    def _load(
        self, batch: Batch, memory: memoryview, plain: memoryview | None = None
    ) -> Iterator[tuple[ChunkRead, memoryview]]:
        """Read chunks that lie side by side into memory; yield the checked bytes of each.

        Those of chunks in a codec come to be in plain, if there is such memory, or nowhere.
        """
        reader = self._reader(batch[0].pack_key)
        stretch = Stretch(reader, batch, memory, self._form, plain, self._bases)
        if stretch.is_cut_short:
            self._refuse(batch[-1], "the pack is cut short")
        for read in batch:
            hasher = self._hasher(read)
            with self._refusing(read):
                for piece in stretch.chunk(read):
                    hasher.update(piece)
            self._compare(read, hasher)
            is_kept = plain is not None or not read.row.codec
            yield read, stretch.data(read) if is_kept else memoryview(b"")

    def _scratch_for(
        self, batch: Batch, lent: memoryview | None = None
    ) -> tuple[memoryview, memoryview]:
        """Return memory for what is stored of a batch, and for what comes out of its codecs.

        Args:
            batch: The chunks.
            lent: Memory that their bytes shall end up in; a scratch buffer if not given.
        """
        nbytes, plain = extent(batch, self._form.trailer_bytes)[1], plain_bytes(batch)
        if lent is not None and not plain:
            return lent, memoryview(b"")
        memory = self._scratch(align(nbytes, CHUNK_ALIGNMENT))
        return memory, lent if lent is not None else self._scratch(plain, "plain")

    def _hasher(self, read: ChunkRead) -> Hasher:
        if self._full:
            return self._form.hasher()
        # The seal has proved already what a checksum could tell, but not what a codec makes of it.
        is_proved = self._form.is_sealed and not read.row.codec
        hasher: Hasher = NoDigest() if is_proved else xxhash.xxh3_128()
        return hasher

    @contextmanager
    def _refusing(self, read: ChunkRead) -> Iterator[None]:
        try:
            yield
        except (Unsealable, Undecodable) as error:
            self._refuse(read, f"it does not open: {error}")

    def _compare(self, read: ChunkRead, hasher: Hasher) -> None:
        expected = read.row.digest if self._full else read.row.check
        found = hasher.digest()
        if found and found != expected:
            self._refuse(read, f"digest expected {expected.hex()[:12]}…, found {found.hex()[:12]}…")

    def _refuse(self, read: ChunkRead, what: str) -> None:
        raise ChunkDamaged(
            f"Chunk {read.row.digest.hex()[:12]}… of {read.leaf!r} ({self._ref}, in "
            f"{read.pack_key}): {what}. Nothing was changed in your state. Restore another "
            "checkpoint ('holdfast verify' tells which are good) or run 'holdfast repair'.",
            ref=self._ref,
            leaf=read.leaf,
            chunk=read.row.digest.hex(),
            key=read.pack_key,
        )

    # --- resources ---

    def _reader(self, key: str) -> ObjectReader:
        known = self._readers.get(key)
        if known is not None:
            return known
        # Outside of the lock: buckets are far away, and packs are many.
        opened = self._store.open(key)
        with self._lock:
            kept = self._readers.setdefault(key, opened)
        if kept is not opened:
            opened.close()
        return kept

    def _scratch(self, nbytes: int, use: str = "stored") -> memoryview:
        """Return page-aligned memory of this thread, touched before if used before."""
        return self._memory.memory(use, nbytes)

    @contextmanager
    def closing(self) -> Iterator[None]:
        try:
            yield
        finally:
            for reader in self._readers.values():
                reader.close()


def _read(reader: ObjectReader, into: memoryview, offset: int) -> None:
    """Read what was in the cache a moment ago, from the disk if it is not there any more."""
    if not reader.read_cached(into, offset):
        reader.read(into, offset)


def _steps(length: int) -> Iterator[tuple[int, int]]:
    for at in range(0, length, _STEP_BYTES):
        yield at, min(_STEP_BYTES, length - at)
