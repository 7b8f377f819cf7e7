"""Chunks sealed one by one on their way into packs, and opened on their way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import final

from blake3 import blake3

from holdfast.plan.layout import CHUNK_ALIGNMENT, align
from holdfast.plan.packs import WRITERS
from holdfast.security.seal import TRAILER_BYTES, ChunkOpener, Seals
from holdfast.store.buffers import Buffers


@final
class SealedForm:
    """How chunks lie in an encrypted store: sealed with their ids, what opens them behind them.

    A buffer to seal into is kept for each pack that is written at a time.
    """

    trailer_bytes = TRAILER_BYTES
    is_sealed = True

    def __init__(self, seals: Seals) -> None:
        self._seals = seals
        self._id_key = seals.keyring.lasting_key("chunk-ids")
        self._buffers = Buffers(WRITERS)

    def hasher(self) -> blake3:
        return blake3(key=self._id_key)

    def opener(self, name: bytes, trailer: memoryview) -> ChunkOpener:
        return self._seals.chunk_opener(bytes(trailer), name)

    @contextmanager
    def stored(
        self, views: Sequence[memoryview], lengths: Sequence[int], names: Callable[[int], bytes]
    ) -> Iterator[Sequence[memoryview]]:
        sizes = [align(length + TRAILER_BYTES, CHUNK_ALIGNMENT) for length in lengths]
        with self._buffers.lend(sum(sizes)) as buffer:
            begin, out = 0, []
            for i, (view, length, size) in enumerate(zip(views, lengths, sizes, strict=True)):
                place = buffer[begin : begin + size]
                end = length + TRAILER_BYTES
                self._seals.seal_chunk(view[:length], names(i), place[:end])
                place[end:] = bytes(size - end)
                out.append(place)
                begin += size
            yield out
