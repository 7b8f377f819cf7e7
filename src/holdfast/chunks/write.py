"""Chunks into the store: digested, compared with what is there already, packed and written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import xxhash

from holdfast.chunks.encoder import Encoded, Encoder
from holdfast.chunks.finite import STEP_BYTES
from holdfast.chunks.form import form_of
from holdfast.chunks.stored import Stored, tables
from holdfast.errors import HoldfastError, IncompleteWrite
from holdfast.format.codecs import RAW
from holdfast.format.digests import check
from holdfast.format.part import ChunkRow, PackRow
from holdfast.plan.layout import CHUNK_ALIGNMENT, Layout, align
from holdfast.plan.packs import WRITERS, Packer
from holdfast.store.contract import ObjectStore, Staged

Look = Callable[[int, int, memoryview], None]
# The last fields of Stored.
_Place = tuple[str, int, int, int, int, Stored | None]
# Staged files are open files; this many at most.
PUBLISH_EVERY = 64


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
        return tables(self.places)


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
    encoder: Encoder | None = None,
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
        encoder: Puts chunks into codecs, made ready for this save; None: they are stored as they
            are.
        threads: Threads that digest; one per core if not given.

    Raises:
        IncompleteWrite: Less was written than planned.
        NoSpace, StoreUnavailable: The store did not take it; nothing of it is left there.
    """
    job = _Job(store, layout.lengths, source, pack_key, known, unchanged, is_intact, look, encoder)
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
        encoder: Encoder | None,
    ) -> None:
        self._is_intact = is_intact
        self._look = look
        self._encoder = encoder if encoder is not None and not encoder.is_idle else None
        self._meter = encoder.writing if encoder is not None else None
        self._store = store
        self._form = form_of(store)
        self._lengths = lengths
        self._source = source
        self._pack_key = pack_key
        self._known = known
        self._unchanged = unchanged
        self._places: dict[int, Stored] = {}
        # Where in which pack the chunks are that this save has written.
        self._written: dict[int, _Place] = {}
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
            # seal needs the digest first, and a codec works long: both would take the processor
            # from who takes the snapshot. Such chunks wait.
            early = []
            for chunk in self._source.arriving():
                if not self._form.is_sealed and self._encoder is None:
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
        for chunk, place in self._written.items():
            name, quick = self._digests[chunk]
            self._places[chunk] = Stored(name, quick, self._lengths[chunk], *place)
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
        number = len(self._packs)
        self._packs.append(writers.submit(self._write, number, chunks))
        if len(self._packs) - self._published >= 2 * PUBLISH_EVERY:
            self._publish(self._published + PUBLISH_EVERY)

    def _write(self, number: int, chunks: list[int]) -> Staged:
        key = self._pack_key(number)
        views = [self._source.acquire(chunk) for chunk in chunks]
        if self._encoder is None:
            raw = [Encoded(v, self._lengths[c], RAW) for c, v in zip(chunks, views, strict=True)]
            staged = self._stage(key, chunks, raw)
        else:
            with self._encoder.encoded(number, chunks, views) as encoded:
                staged = self._stage(key, chunks, encoded)
        for chunk in chunks:
            self._source.release(chunk)
        return staged

    def _stage(self, key: str, chunks: list[int], encoded: Sequence[Encoded]) -> Staged:
        lengths = [item.nbytes for item in encoded]
        views = [item.view for item in encoded]
        sizes = [align(n + self._form.trailer_bytes, CHUNK_ALIGNMENT) for n in lengths]
        planned = sum(sizes)
        with (
            self._form.stored(views, lengths, lambda i: self._digests[chunks[i]][0]) as stored,
            self._working(planned),
        ):
            staged = self._store.stage(key, stored)
        if staged.size != planned:
            self._store.discard([staged])
            raise IncompleteWrite(
                f"The pack {key!r} has {staged.size} bytes, planned were {planned}. Nothing was "
                "committed.",
                planned=planned,
                written=staged.size,
            )
        offsets = accumulate(sizes, initial=0)
        for chunk, item, begin in zip(chunks, encoded, offsets, strict=False):
            encoded_length = item.nbytes if item.codec else 0
            place = key, staged.size, begin, item.codec, encoded_length, item.base
            self._written[chunk] = place
        return staged

    def _working(self, nbytes: int) -> AbstractContextManager[None]:
        return self._meter.working(nbytes) if self._meter is not None else nullcontext()

    def _publish(self, until: int) -> None:
        batch = [f.result() for f in self._packs[self._published : until]]
        if batch:
            with self._working(0):
                self._store.publish(batch)
        self._published = until

    def _raise_early(self) -> None:
        # A full disk shall not be found out only after everything has been digested.
        for future in self._packs[self._published :]:
            if future.done() and future.exception() is not None:
                future.result()
