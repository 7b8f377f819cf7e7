"""Chunks out of the store: every one is checked before its bytes count.

Memory that stands (a model's own tensors) is not touched before all that goes there is known to
be good, and is put back if it turns out not to be (docs/adr/0004):

1. Chunks that are in the page cache are checked where they are, into a scratch buffer that stays
   in the processor's cache.
2. Chunks that must come from the disk are read past the cache, checked, and copied to their
   places, whose old content is kept until the end in memory that the caller lends (the arena of
   a ``Checkpointer``). The disk is the bottleneck; the copies cost nothing. Without such memory
   they are read and checked, and then read a second time.
3. Only then the chunks of 1 are copied from the page cache to their places.

Where the memory is new, none of this is needed: it is read into directly, and checked there.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import xxhash
from blake3 import blake3

from holdfast.errors import ChunkDamaged, HoldfastError, RestoreIncomplete
from holdfast.format.part import ChunkRow, Part
from holdfast.plan.layout import CHUNK_ALIGNMENT, CHUNK_BYTES, align
from holdfast.store.contract import ObjectReader, ObjectStore
from holdfast.store.memory_pages import private_memory

_T = TypeVar("_T")

THREADS = 8
# Small enough to stay in a core's cache between being read and being digested.
_STEP_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """Where a stretch of a chunk goes: its begin in the chunk, and the memory."""

    begin: int
    into: memoryview


@dataclass(frozen=True, slots=True)
class ChunkRead:
    """A chunk to be read, and where its bytes go.

    ``in_place`` says that one of the targets is memory that stands; ``leaf`` names a leaf in it
    for error messages.
    """

    row: ChunkRow
    pack_key: str
    targets: Sequence[Target]
    in_place: bool
    leaf: str


# Chunks of one pack that lie side by side: one read brings them all.
Batch = Sequence[ChunkRead]


def batches(reads: Sequence[ChunkRead]) -> list[Batch]:
    """Return reads grouped into stretches of one pack, of 32 MiB at most unless one is longer."""
    out: list[list[ChunkRead]] = []
    for read in sorted(reads, key=lambda r: (r.pack_key, r.row.offset)):
        row = read.row
        if out:
            first, last = out[-1][0], out[-1][-1]
            follows = row.offset == align(last.row.offset + last.row.length, CHUNK_ALIGNMENT)
            fits = row.offset + row.length - first.row.offset <= CHUNK_BYTES
            if read.pack_key == last.pack_key and follows and fits:
                out[-1].append(read)
                continue
        out.append([read])
    return list(out)


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

    Raises:
        ChunkDamaged, ChunkMissing, StoreUnavailable: Some chunk is not good. Memory that stood
            is as it was.
        RestoreIncomplete: A chunk that was good a moment ago could not be read again.
    """
    session = _Session(store, ref, full, spare, progress or (lambda n: None))
    # The readers are closed last: after an error, threads may still be at work.
    with session.closing(), ThreadPoolExecutor(THREADS, "holdfast-read") as pool:
        session.run(reads, pool)


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
        self._undo: list[tuple[memoryview, memoryview]] = []
        self._undo_memory = spare if spare is not None else memoryview(b"")
        self._undo_fill = 0

    def run(self, reads: Sequence[ChunkRead], pool: ThreadPoolExecutor) -> None:
        standing = [r for r in reads if r.in_place]
        new = [r for r in reads if not r.in_place]
        cached = list(pool.map(self._check_cached, standing))
        warm = [r for r, is_warm in zip(standing, cached, strict=True) if is_warm]
        cold = [r for r, is_warm in zip(standing, cached, strict=True) if not is_warm]
        can_undo = self._can_undo(cold)
        try:
            _finish_all(pool, self._read_with_undo if can_undo else self._check, batches(cold))
            _finish_all(pool, self._read_new, batches(new))
        except BaseException:
            self._put_back()
            raise
        try:
            _finish_all(pool, self._copy_cached, warm)
            if not can_undo:
                _finish_all(pool, self._place, batches(cold))
        except HoldfastError as error:
            self._put_back()
            raise RestoreIncomplete(
                f"{self._ref} was good a moment ago, but reading it again failed: {error} Some "
                "tensors have its values, others do not: do not go on with this model. Restore "
                "again, or start the process anew.",
                ref=self._ref,
            ) from error

    # --- the three ways to read ---

    def _check_cached(self, read: ChunkRead) -> bool:
        """Check a chunk in the page cache; False if it is not there."""
        reader, hasher = self._reader(read.pack_key), self._hasher()
        if not reader.is_cached(read.row.offset, read.row.length):
            return False
        scratch = self._scratch(_STEP_BYTES)
        for at, n in _steps(read.row.length):
            if not reader.read_cached(scratch[:n], read.row.offset + at):
                return False
            hasher.update(scratch[:n])
        self._compare(read, hasher)
        return True

    def _check(self, batch: Batch) -> None:
        """Check chunks that come from the disk, to be read a second time later."""
        for _ in self._load(batch):
            pass

    def _read_with_undo(self, batch: Batch) -> None:
        for read, data in self._load(batch):
            for target in read.targets:
                self._remember(target.into)
                target.into[:] = data[target.begin : target.begin + target.into.nbytes]
            self._progress(read.row.length)

    def _copy_cached(self, read: ChunkRead) -> None:
        """Copy a chunk that was checked to its places; check again what left the cache."""
        if not self._read_straight(read):
            self._place([read])

    def _place(self, batch: Batch) -> None:
        """Read chunks, check them, and copy them to their places."""
        for read, data in self._load(batch):
            for target in read.targets:
                target.into[:] = data[target.begin : target.begin + target.into.nbytes]
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

    def _load(self, batch: Batch) -> Iterator[tuple[ChunkRead, memoryview]]:
        """Yield the checked bytes of chunks that lie side by side, in this thread's scratch."""
        reader = self._reader(batch[0].pack_key)
        begin, end = batch[0].row.offset, batch[-1].row.offset + batch[-1].row.length
        if end > reader.size:
            self._refuse(batch[-1], "the pack is cut short")
        scratch = self._scratch(align(end - begin, CHUNK_ALIGNMENT))
        if not (
            reader.is_cached(begin, end - begin)
            and reader.read_cached(scratch[: end - begin], begin)
        ):
            padded = min(align(end - begin, CHUNK_ALIGNMENT), reader.size - begin)
            reader.read_uncached(scratch[:padded], begin)
        for read in batch:
            at = read.row.offset - begin
            data = scratch[at : at + read.row.length]
            hasher = self._hasher()
            hasher.update(data)
            self._compare(read, hasher)
            yield read, data

    def _remember(self, into: memoryview) -> None:
        with self._lock:
            begin, self._undo_fill = self._undo_fill, self._undo_fill + into.nbytes
            old = self._undo_memory[begin : self._undo_fill]
            self._undo.append((into, old))
        old[:] = into

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

    def _can_undo(self, reads: Sequence[ChunkRead]) -> bool:
        needed = sum(target.into.nbytes for read in reads for target in read.targets)
        return needed <= self._undo_memory.nbytes

    def _put_back(self) -> None:
        for into, old in reversed(self._undo):
            into[:] = old
        self._undo.clear()

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


def reads_of(
    part: Part, spans: Mapping[int, Sequence[tuple[int, memoryview, bool, str]]]
) -> list[ChunkRead]:
    """Return the chunk reads of a part: for each chunk its (begin, memory, stands, leaf) list."""
    reads = []
    for index, pieces in spans.items():
        row = part.chunks[index]
        reads.append(
            ChunkRead(
                row,
                part.packs[row.pack].key,
                [Target(begin, into) for begin, into, _, _ in pieces],
                any(stands for _, _, stands, _ in pieces),
                pieces[0][3],
            )
        )
    return reads
