"""Chunks put into codecs on their way into packs, where that is wanted and where it pays.

``planes`` stores in planes whatever gets smaller by it. ``auto`` does so only while that does not
make saving slower than the disk would be without it (``chunks.pace``). While it does not know, it
encodes every second pack, and so finds out; while it does not pay, it tries one pack in a save now
and then, since machines become less busy. ``delta`` stores differences from earlier chunks where
these are smaller still (``chunks.deltas``), and in planes what is left.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, get_args

from holdfast.chunks.codecs import choice, planes
from holdfast.chunks.codecs.choice import Planes
from holdfast.chunks.deltas import Deltas, Origin
from holdfast.chunks.pace import Meter, Rates
from holdfast.chunks.stored import Stored
from holdfast.errors import UsageError
from holdfast.format.codecs import DELTA, MAX_PLAIN_BYTES, PLANES, RAW
from holdfast.plan.elements import Elements
from holdfast.plan.layout import CHUNK_ALIGNMENT, align
from holdfast.plan.packs import WRITERS
from holdfast.store.buffers import Buffers

Compress = Literal["none", "auto", "planes", "delta"]

# A page is what the least chunk takes in a pack, however small it is made.
_LEAST_BYTES: Final = CHUNK_ALIGNMENT
# Saves for which it is remembered what was found out of a chunk, and between two tries.
_LOOK_AGAIN: Final = 16


def check_compress(compress: object) -> None:
    """Refuse what is no way to compress.

    Raises:
        UsageError: It is not.
    """
    if compress not in get_args(Compress):
        known = ", ".join(repr(name) for name in get_args(Compress))
        raise UsageError(f"compress={compress!r} is none of {known}.")


@dataclass(frozen=True, slots=True)
class Encoded:
    """What is stored of a chunk: bytes padded to the alignment, how many count, and their codec.

    ``base`` is what a delta is a difference from.
    """

    view: memoryview
    nbytes: int
    codec: int
    base: Stored | None = None


class Encoder:
    """Encodes the chunks of the saves of one run; used by several threads, one save at a time.

    Args:
        compress: ``planes``, ``auto`` or ``delta``.
        rates: What is known of this machine and store.
        deltas: Makes differences; of ``delta`` only.
    """

    def __init__(
        self, compress: Compress, rates: Rates | None = None, deltas: Deltas | None = None
    ) -> None:
        self._deltas = deltas
        self._is_auto = compress == "auto"
        self.rates = rates or Rates()
        self.writing, self._encoding = Meter(), Meter()
        self._buffers = Buffers(WRITERS)
        self._elements: Sequence[Elements] = ()
        self._lengths: Sequence[int] = ()
        self._plans: dict[int, Planes | None] = {}
        self._lock = threading.Lock()
        self._saves = -1
        self._every: int | None = None

    def begin(
        self,
        elements: Sequence[Elements],
        lengths: Sequence[int],
        origins: Mapping[int, Origin] | None = None,
    ) -> None:
        """Make ready for a save; call before any chunk of it.

        Args:
            elements: What each chunk consists of.
            lengths: The bytes of each chunk.
            origins: What chunks may be differences from, by index.
        """
        if self._deltas is not None:
            self._deltas.begin(origins or {})
        self._saves += 1
        if self._saves % _LOOK_AGAIN == 0 or (elements, lengths) != (self._elements, self._lengths):
            self._plans.clear()
        self._elements, self._lengths = elements, lengths
        self._every = self._share()

    def _share(self) -> int | None:
        """Return of how many packs one is encoded: 1 for each, None for none."""
        keeps_up = self.rates.encoding_keeps_up() if self._is_auto else True
        if keeps_up is None:
            return 2
        if keeps_up:
            return 1
        # Only the first one, to see whether anything is different by now.
        return 1 << 30 if self._saves % _LOOK_AGAIN == 0 else None

    def end(self) -> None:
        """Take in what the save has taught; call once it is over."""
        self.rates = self.rates.with_new(self._encoding.take(), self.writing.take())

    @property
    def is_idle(self) -> bool:
        """Whether all chunks of this save are stored as they are."""
        return self._every is None

    @contextmanager
    def encoded(
        self, number: int, chunks: Sequence[int], views: Sequence[memoryview]
    ) -> Iterator[Sequence[Encoded]]:
        """Give what is to be stored of the chunks of a pack, in their order.

        Args:
            number: The pack's, from 0.
            chunks: The chunks in it.
            views: Their bytes, padded to the alignment.
        """
        if self._every is None or number % self._every:
            yield [self._raw(c, view) for c, view in zip(chunks, views, strict=True)]
            return
        sizes = [self._room(chunk) for chunk in chunks]
        with self._buffers.lend(sum(sizes)) as buffer:
            begin, out = 0, []
            with self._encoding.working(sum(self._lengths[chunk] for chunk in chunks)):
                for chunk, view, size in zip(chunks, views, sizes, strict=True):
                    found = self._encode(chunk, view, buffer[begin : begin + size])
                    out.append(found)
                    # What is stored as it is needs no room.
                    begin += found.view.nbytes if found.codec else 0
            yield out

    def _raw(self, chunk: int, view: memoryview) -> Encoded:
        return Encoded(view, self._lengths[chunk], RAW)

    def _room(self, chunk: int) -> int:
        length, width = self._lengths[chunk], self._elements[chunk].width
        return align(length + planes.head_bytes(length, width), CHUNK_ALIGNMENT)

    def _encode(self, chunk: int, view: memoryview, room: memoryview) -> Encoded:
        length = self._lengths[chunk]
        if not _LEAST_BYTES < length <= MAX_PLAIN_BYTES:
            return self._raw(chunk, view)
        data = view[:length]
        if self._deltas is not None:
            delta = self._deltas.encode(chunk, data, self._elements[chunk], room)
            if delta is not None:
                return Encoded(_padded(room, delta[0]), delta[0], DELTA, delta[1])
        plan = self._plan(chunk, data)
        nbytes = choice.encode(data, plan, room) if plan is not None else None
        # Stored in whole pages, it must take fewer of them.
        if nbytes is None or align(nbytes, CHUNK_ALIGNMENT) >= align(length, CHUNK_ALIGNMENT):
            return self._raw(chunk, view)
        return Encoded(_padded(room, nbytes), nbytes, PLANES)

    def _plan(self, chunk: int, data: memoryview) -> Planes | None:
        with self._lock:
            if chunk in self._plans:
                return self._plans[chunk]
        plan = choice.choose(data, self._elements[chunk])
        with self._lock:
            self._plans[chunk] = plan
        return plan


def _padded(room: memoryview, nbytes: int) -> memoryview:
    """Return the bytes of room that count, with zeros up to the alignment."""
    end = align(nbytes, CHUNK_ALIGNMENT)
    room[nbytes:end] = bytes(end - nbytes)
    return room[:end]
