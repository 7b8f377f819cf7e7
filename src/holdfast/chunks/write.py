"""Chunks into the store: digested, compared with what is there already, and packed if new."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace

from holdfast.chunks.digesting import Digests, Look, digests_of
from holdfast.chunks.encoder import Encoder
from holdfast.chunks.form import form_of
from holdfast.chunks.packing import Packing, Place
from holdfast.chunks.source import ChunkSource
from holdfast.chunks.stored import Stored, tables
from holdfast.errors import IncompleteWrite
from holdfast.format.part import ChunkRow, PackRow
from holdfast.plan.blocks import block_bytes
from holdfast.plan.layout import Layout
from holdfast.plan.packs import WRITERS
from holdfast.store.contract import ObjectStore


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
    total_bytes: int | None = None,
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
        total_bytes: Bytes of the checkpoint, where these are not all of its chunks.

    Raises:
        IncompleteWrite: Less was written than planned.
        NoSpace, StoreUnavailable: The store did not take it; nothing of it is left there.
    """
    all_bytes = layout.total_bytes if total_bytes is None else total_bytes
    job = _Job(store, layout.lengths, source, known, is_intact, look, all_bytes)
    with (
        ThreadPoolExecutor(threads or os.cpu_count() or 1, "holdfast-digest") as digesters,
        ThreadPoolExecutor(WRITERS, "holdfast-write") as writers,
    ):
        packing = Packing(
            store,
            layout.lengths,
            source,
            writers,
            pack_key=pack_key,
            name_of=job.name_of,
            encoder=encoder,
        )
        try:
            return job.run(digesters, packing, unchanged, manifest)
        except BaseException:
            packing.undo()
            raise


class _Job:
    """One save: the digest of each chunk, and where it lies."""

    def __init__(
        self,
        store: ObjectStore,
        lengths: Sequence[int],
        source: ChunkSource,
        known: Mapping[bytes, Stored],
        is_intact: Callable[[Stored], bool] | None,
        look: Look | None,
        all_bytes: int,
    ) -> None:
        self._all_bytes = all_bytes
        self._form = form_of(store)
        self._lengths = lengths
        self._source = source
        self._known = known
        self._is_intact = is_intact
        self._look = look
        self._places: dict[int, Stored] = {}
        self._twins: dict[int, int] = {}
        self._first: dict[bytes, int] = {}
        self._digests: dict[int, Digests] = {}
        self._stop = False

    def name_of(self, chunk: int) -> bytes:
        """Return the id of a chunk that was digested."""
        return self._digests[chunk].name

    def run(
        self,
        digesters: Executor,
        packing: Packing,
        unchanged: Callable[[], Mapping[int, Stored]],
        manifest: Callable[[Written], tuple[str, bytes]],
    ) -> Written:
        try:
            early = self._pack_early(packing)
            self._places.update(unchanged())
            done = {*self._places, *early}
            later = [chunk for chunk in range(len(self._lengths)) if chunk not in done]
            names = digesters.map(self._digest, later)
            early_names = digesters.map(self._digest_written, early)
            self._pack_new(packing, zip(later, names, strict=True))
            self._digests.update(zip(early, early_names, strict=True))
            new_bytes = packing.close()
            written = Written(self._all_places(packing.places), new_bytes)
            packing.publish_with(*manifest(written))
        except BaseException:
            self._stop = True
            self._source.abandon()
            raise
        return written

    def _pack_early(self, packing: Packing) -> list[int]:
        """Write what is new while the rest is still to come; it is digested afterwards."""
        early = []
        for chunk in self._source.arriving():
            if packing.takes_early:
                early.append(chunk)
                packing.add(chunk)
        return early

    def _pack_new(self, packing: Packing, named: Iterable[tuple[int, Digests]]) -> None:
        for chunk, digests in named:
            if self._is_stored(chunk, digests):
                packing.raise_early()
                self._source.release(chunk)
            else:
                packing.add(chunk)

    def _all_places(self, packed: Mapping[int, Place]) -> list[Stored]:
        for chunk, place in packed.items():
            name, quick, blocks = self._digests[chunk]
            stored = Stored(name, quick, self._lengths[chunk], *place)
            self._places[chunk] = stored if stored.codec else replace(stored, blocks=blocks)
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

    def _digest(self, chunk: int) -> Digests:
        if self._stop:
            return Digests(b"", b"", None)
        digests = self._digest_written(chunk)
        known = self._known.get(digests.name)
        if known is not None and (self._is_intact is None or self._is_intact(known)):
            # What an older version stored has no checks of blocks; these are of the same bytes.
            has_all = known.blocks is not None or known.codec
            self._places[chunk] = known if has_all else replace(known, blocks=digests.blocks)
        return digests

    def _digest_written(self, chunk: int) -> Digests:
        length = self._lengths[chunk]
        # Who opens a seal needs all of a chunk, whatever little is wanted of it.
        nbytes = 0 if self._form.is_sealed else block_bytes(length, self._all_bytes)
        data = self._source.acquire(chunk)[:length]
        return digests_of(data, self._form, nbytes, chunk, self._look)

    def _is_stored(self, chunk: int, digests: Digests) -> bool:
        self._digests[chunk] = digests
        if chunk in self._places:
            return True
        first = self._first.setdefault(digests.name, chunk)
        if first != chunk:
            self._twins[chunk] = first
        return first != chunk
