"""Chunks into the store: digested, compared with what is there already, packed and written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import xxhash

from holdfast.chunks.finite import STEP_BYTES
from holdfast.chunks.form import form_of
from holdfast.errors import HoldfastError, IncompleteWrite
from holdfast.format.digests import check
from holdfast.format.part import ChunkRow, PackRow
from holdfast.plan.layout import CHUNK_ALIGNMENT, Layout, align
from holdfast.plan.packs import Packer
from holdfast.store.contract import ObjectStore, Staged

WRITERS = 4
Look = Callable[[int, int, memoryview], None]
# Staged files are open files; this many at most.
PUBLISH_EVERY = 64


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a chunk lies: its digests and length, and its place in a pack of a certain length."""

    digest: bytes
    check: bytes
    length: int
    pack_key: str
    pack_length: int
    offset: int


class ChunkSource(Protocol):
    """Where the bytes of a snapshot's chunks are."""

    def arriving(self) -> Iterator[int]:
        """Yield chunks that are new, and there already, while others are still to come.

        All chunks are there when it ends; not all need have been yielded.
        """
        ...

    def acquire(self, chunk: int) -> memoryview:
        """Return a chunk's bytes, zero-padded to a multiple of the alignment, page-aligned.

        May block until there is room.
        """
        ...

    def release(self, chunk: int) -> None:
        """Say that a chunk's bytes are no longer needed."""
        ...

    def abandon(self) -> None:
        """Let every ``acquire`` that waits, or comes later, raise ``Abandoned``."""
        ...


class Abandoned(Exception):
    """The save has failed already; nobody needs these bytes."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a snapshot's chunks: a place for each, and the bytes that were new."""

    places: Sequence[Stored]
    new_bytes: int

    def tables(self) -> tuple[list[ChunkRow], list[PackRow]]:
        """Return the chunk and pack tables of a manifest."""
        packs: dict[str, int] = {}
        rows: list[PackRow] = []
        chunks = []
        for place in self.places:
            if place.pack_key not in packs:
                packs[place.pack_key] = len(rows)
                rows.append(PackRow(place.pack_key, place.pack_length))
            pack = packs[place.pack_key]
            chunks.append(ChunkRow(place.digest, place.check, place.length, pack, place.offset))
        return chunks, rows


def write_chunks(
    store: ObjectStore,
    layout: Layout,
    source: ChunkSource,
    *,
    pack_key: Callable[[int], str],
    manifest: Callable[[Written], tuple[str, bytes]],
    known: Mapping[bytes, Stored],
    unchanged: Callable[[], Mapping[int, Stored]],
    is_intact: Callable[[Stored], bool] | None = None,
    look: Look | None = None,
    threads: int | None = None,
) -> Written:
    """Write every chunk that is not stored yet; all of them are durable on return.

    Args:
        store: Where to.
        layout: Lengths of the chunks, in bytes.
        source: Gives their bytes.
        pack_key: Gives the key of this save's pack with a number.
        manifest: Gives key and bytes of the manifest once every chunk has its place; it becomes
            durable together with the last packs, in the same syncs.
        known: Chunks that may be referred to instead of written, by digest.
        unchanged: Gives the chunks known not to have changed since they were stored, by index:
            they are not even digested. Asked once all chunks have arrived.
        is_intact: Says of a known chunk whether it is still good where it lies; one that is not
            is written again. Not asked where not given.
        look: Is shown the bytes of each chunk that is digested, in order: the chunk's index, where
            they begin in it, and the bytes; from several threads.
        threads: Threads that digest; one per core if not given.

    Raises:
        IncompleteWrite: Less was written than planned.
        NoSpace, StoreUnavailable: The store did not take it; nothing of it is left there.
    """
    job = _Job(store, layout.lengths, source, pack_key, known, unchanged, is_intact, look)
    with (
        ThreadPoolExecutor(threads or os.cpu_count() or 1, "holdfast-digest") as digesters,
        ThreadPoolExecutor(WRITERS, "holdfast-write") as writers,
    ):
        try:
            return job.run(digesters, writers, manifest)
        except BaseException:
            job.undo()
            raise


class _Job:
    def __init__(
        self,
        store: ObjectStore,
        lengths: Sequence[int],
        source: ChunkSource,
        pack_key: Callable[[int], str],
        known: Mapping[bytes, Stored],
        unchanged: Callable[[], Mapping[int, Stored]],
        is_intact: Callable[[Stored], bool] | None,
        look: Look | None,
    ) -> None:
        self._is_intact = is_intact
        self._look = look
        self._store = store
        self._form = form_of(store)
        self._lengths = lengths
        self._source = source
        self._pack_key = pack_key
        self._known = known
        self._unchanged = unchanged
        self._places: dict[int, Stored] = {}
        # Where in which pack the chunks are that this save has written.
        self._written: dict[int, tuple[str, int, int]] = {}
        self._twins: dict[int, int] = {}
        self._first: dict[bytes, int] = {}
        self._digests: dict[int, tuple[bytes, bytes]] = {}
        self._packs: list[Future[Staged]] = []
        self._published = 0
        self._stop = False

    def run(
        self,
        digesters: ThreadPoolExecutor,
        writers: ThreadPoolExecutor,
        manifest: Callable[[Written], tuple[str, bytes]],
    ) -> Written:
        packer = Packer(self._lengths)
        try:
            # What is new is written while the rest is still to come, and digested afterwards. A
            # seal needs the digest first, which would take the processor from who takes the
            # snapshot: sealed chunks wait.
            early = []
            for chunk in self._source.arriving():
                if not self._form.is_sealed:
                    early.append(chunk)
                    self._pack(chunk, packer, writers)
            self._places.update(self._unchanged())
            done = {*self._places, *early}
            later = [chunk for chunk in range(len(self._lengths)) if chunk not in done]
            names = digesters.map(self._digest, later)
            early_names = digesters.map(self._digest_written, early)
            for chunk, found in zip(later, names, strict=True):
                if self._is_stored(chunk, *found):
                    self._raise_early()
                    self._source.release(chunk)
                else:
                    self._pack(chunk, packer, writers)
            self._digests.update(zip(early, early_names, strict=True))
            for last in packer.rest():
                self._submit(last, writers)
            new_bytes = sum(f.result().size for f in self._packs)
            written = Written(self._all_places(), new_bytes)
            key, data = manifest(written)
            self._packs.append(writers.submit(self._store.stage, key, [data]))
            self._publish(len(self._packs))
        except BaseException:
            self._stop = True
            self._source.abandon()
            raise
        return written

    def _pack(self, chunk: int, packer: Packer, writers: ThreadPoolExecutor) -> None:
        self._raise_early()
        if full := packer.add(chunk):
            self._submit(full, writers)

    def _all_places(self) -> list[Stored]:
        for chunk, (key, pack_bytes, offset) in self._written.items():
            length = self._lengths[chunk]
            place = Stored(*self._digests[chunk], length, key, pack_bytes, offset)
            self._places[chunk] = place
        for twin, first in self._twins.items():
            self._places[twin] = self._places[first]
        if len(self._places) != len(self._lengths):
            raise IncompleteWrite(
                f"{len(self._lengths)} chunks were planned, {len(self._places)} have a place. "
                "Nothing was committed.",
                planned=len(self._lengths),
                written=len(self._places),
            )
        return [self._places[i] for i in range(len(self._lengths))]

    def undo(self) -> None:
        """Leave nothing behind: what is staged is thrown away, what is published deleted."""
        done = [f for f in self._packs if not f.cancel()]
        good = [f.result() for f in done if f.exception() is None]
        self._store.discard(good)
        # If the store does not even delete, the sweep of debris does, later.
        with contextlib.suppress(HoldfastError):
            self._store.delete([item.key for item in good])

    def _digest(self, chunk: int) -> tuple[bytes, bytes]:
        if self._stop:
            return b"", b""
        name, quick = self._digest_written(chunk)
        known = self._known.get(name)
        if known is not None and (self._is_intact is None or self._is_intact(known)):
            self._places[chunk] = known
        return name, quick

    def _digest_written(self, chunk: int) -> tuple[bytes, bytes]:
        data = self._source.acquire(chunk)[: self._lengths[chunk]]
        hasher = self._form.hasher()
        if self._look is None:
            hasher.update(data)
            return hasher.digest(), check(data)
        # Step by step, so that all find the bytes in the processor's cache.
        quick = xxhash.xxh3_128()
        for at in range(0, data.nbytes, STEP_BYTES):
            piece = data[at : at + STEP_BYTES]
            hasher.update(piece)
            quick.update(piece)
            self._look(chunk, at, piece)
        return hasher.digest(), quick.digest()

    def _is_stored(self, chunk: int, name: bytes, quick: bytes) -> bool:
        self._digests[chunk] = name, quick
        if chunk in self._places:
            return True
        first = self._first.setdefault(name, chunk)
        if first != chunk:
            self._twins[chunk] = first
        return first != chunk

    def _submit(self, chunks: list[int], writers: ThreadPoolExecutor) -> None:
        key = self._pack_key(len(self._packs))
        self._packs.append(writers.submit(self._write, key, chunks))
        if len(self._packs) - self._published >= 2 * PUBLISH_EVERY:
            self._publish(self._published + PUBLISH_EVERY)

    def _write(self, key: str, chunks: list[int]) -> Staged:
        lengths = [self._lengths[chunk] for chunk in chunks]
        views = [self._source.acquire(chunk) for chunk in chunks]
        with self._form.stored(views, lengths, lambda i: self._digests[chunks[i]][0]) as stored:
            staged = self._store.stage(key, stored)
        sizes = [align(n + self._form.trailer_bytes, CHUNK_ALIGNMENT) for n in lengths]
        offsets = accumulate(sizes, initial=0)
        planned = sum(sizes)
        if staged.size != planned:
            self._store.discard([staged])
            raise IncompleteWrite(
                f"The pack {key!r} has {staged.size} bytes, planned were {planned}. Nothing was "
                "committed.",
                planned=planned,
                written=staged.size,
            )
        for chunk, begin in zip(chunks, offsets, strict=False):
            self._written[chunk] = key, staged.size, begin
            self._source.release(chunk)
        return staged

    def _publish(self, until: int) -> None:
        batch = [f.result() for f in self._packs[self._published : until]]
        if batch:
            self._store.publish(batch)
        self._published = until

    def _raise_early(self) -> None:
        # A full disk shall not be found out only after everything has been digested.
        for future in self._packs[self._published :]:
            if future.done() and future.exception() is not None:
                future.result()
