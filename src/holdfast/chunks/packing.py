"""The packs of a save: filled with chunks, staged by several threads, published in batches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate
from typing import final

from holdfast.chunks.encoder import Encoded, Encoder
from holdfast.chunks.form import form_of
from holdfast.chunks.source import ChunkSource
from holdfast.chunks.stored import Stored
from holdfast.errors import HoldfastError, IncompleteWrite
from holdfast.format.codecs import RAW
from holdfast.plan.layout import CHUNK_ALIGNMENT, align
from holdfast.plan.packs import Packer
from holdfast.store.contract import ObjectStore, Staged

# Staged files are open files; this many at most.
PUBLISH_EVERY = 64

# The last fields of Stored.
Place = tuple[str, int, int, int, int, Stored | None]


@final
class Packing:
    """Writes chunks into packs; one thread adds them.

    Args:
        store: Where to.
        lengths: Lengths of the chunks, in bytes.
        source: Gives their bytes.
        writers: Does the writing.
        pack_key: Gives the key of the pack with a number.
        name_of: Gives the id of a chunk; asked only where chunks are sealed, once they are added.
        encoder: Puts chunks into codecs, made ready for this save; None: they are stored as they
            are.
    """

    def __init__(
        self,
        store: ObjectStore,
        lengths: Sequence[int],
        source: ChunkSource,
        writers: Executor,
        *,
        pack_key: Callable[[int], str],
        name_of: Callable[[int], bytes],
        encoder: Encoder | None,
    ) -> None:
        self._store, self._lengths, self._source, self._writers = store, lengths, source, writers
        self._pack_key, self._name_of = pack_key, name_of
        self._encoder = encoder if encoder is not None and not encoder.is_idle else None
        self._meter = encoder.writing if encoder is not None else None
        self._form = form_of(store)
        self._packer = Packer(lengths)
        self._places: dict[int, Place] = {}
        self._staged: list[Future[Staged]] = []
        self._published = 0

    @property
    def takes_early(self) -> bool:
        """Whether chunks may be added while the snapshot is still taken.

        A seal needs the digest first, and a codec works long: both would take the processor from
        who takes it.
        """
        return not self._form.is_sealed and self._encoder is None

    @property
    def places(self) -> Mapping[int, Place]:
        """Where in which pack the chunks are; whole once ``close`` has returned."""
        return self._places

    def add(self, chunk: int) -> None:
        """Add a chunk; its pack is written once it is full."""
        self.raise_early()
        if full := self._packer.add(chunk):
            self._submit(full)

    def raise_early(self) -> None:
        """Raise the error of a pack that could not be written, if any.

        A full disk shall not be found out only after everything has been digested.
        """
        for future in self._staged[self._published :]:
            if future.done() and future.exception() is not None:
                future.result()

    def close(self) -> int:
        """Write the last pack, and wait for all; return the bytes of all packs."""
        for last in self._packer.rest():
            self._submit(last)
        return sum(staged.result().size for staged in self._staged)

    def publish_with(self, key: str, data: bytes) -> None:
        """Publish another object together with the last packs; all are durable on return."""
        self._staged.append(self._writers.submit(self._store.stage, key, [data]))
        self._publish(len(self._staged))

    def undo(self) -> None:
        """Leave nothing behind: what is staged is thrown away, what is published deleted."""
        done = [f for f in self._staged if not f.cancel()]
        good = [f.result() for f in done if f.exception() is None]
        self._store.discard(good)
        # If the store does not even delete, the sweep of debris does, later.
        with contextlib.suppress(HoldfastError):
            self._store.delete([item.key for item in good])

    def _submit(self, chunks: list[int]) -> None:
        number = len(self._staged)
        self._staged.append(self._writers.submit(self._write, number, chunks))
        if len(self._staged) - self._published >= 2 * PUBLISH_EVERY:
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
            self._form.stored(views, lengths, lambda i: self._name_of(chunks[i])) as stored,
            self._working(planned),
        ):
            staged = self._store.stage(key, stored)
        if staged.size != planned:
            self._store.discard([staged])
            raise _incomplete(key, staged.size, planned)
        for chunk, item, begin in zip(chunks, encoded, accumulate(sizes, initial=0), strict=False):
            encoded_length = item.nbytes if item.codec else 0
            self._places[chunk] = key, staged.size, begin, item.codec, encoded_length, item.base
        return staged

    def _working(self, nbytes: int) -> AbstractContextManager[None]:
        return self._meter.working(nbytes) if self._meter is not None else nullcontext()

    def _publish(self, until: int) -> None:
        batch = [f.result() for f in self._staged[self._published : until]]
        if batch:
            with self._working(0):
                self._store.publish(batch)
        self._published = until


def _incomplete(key: str, written: int, planned: int) -> IncompleteWrite:
    return IncompleteWrite(
        f"The pack {key!r} has {written} bytes, planned were {planned}. Nothing was committed.",
        planned=planned,
        written=written,
    )
