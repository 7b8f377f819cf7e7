"""Memory that stands changes places with what was read, so that it can be put back.

A chunk is read from the disk into memory that the caller lends, and checked there. Then its bytes
and the old content of where they go are exchanged, piece by piece in the processor's cache: the
lent memory keeps the old content until all is known to be good. Only memory that was touched
before is used; new pages would cost more than the exchange.
"""

from __future__ import annotations

import threading

import numpy as np

from holdfast.plan.layout import CHUNK_ALIGNMENT, align
from holdfast.store.memory_pages import private_memory
from holdfast.store.scratch import Scratch

_PIECE_BYTES = 256 << 10


class Undo:
    """Lends out memory to read into, and knows what to put back where.

    Args:
        memory: Page-aligned memory that nobody needs.
        more_bytes: How much more may be taken of the system, at the price of new pages.
    """

    def __init__(self, memory: memoryview, more_bytes: int = 0) -> None:
        self._memory = memory
        self._more_bytes = more_bytes
        self._fill = 0
        self._lock = threading.Lock()
        self._pieces = Scratch(_PIECE_BYTES)
        self._old: list[tuple[memoryview, memoryview]] = []

    @property
    def room(self) -> int:
        """Bytes that can still be lent at a time."""
        return max(self._memory.nbytes - self._fill, self._more_bytes)

    def lend(self, nbytes: int) -> memoryview:
        """Return page-aligned memory of that size, rounded up; ``room`` must have it."""
        nbytes = align(nbytes, CHUNK_ALIGNMENT)
        with self._lock:
            if self._fill + nbytes > self._memory.nbytes:
                self._more_bytes -= nbytes
                return memoryview(private_memory(nbytes))
            begin, self._fill = self._fill, self._fill + nbytes
            return self._memory[begin : self._fill]

    def exchange(self, into: memoryview, lent: memoryview) -> None:
        """Put lent bytes into memory that stands, and its old content in their place."""
        with self._lock:
            self._old.append((into, lent))
        kept = np.frombuffer(self._pieces.memory("kept", _PIECE_BYTES), np.uint8)
        new, old = np.frombuffer(lent, np.uint8), np.frombuffer(into, np.uint8)
        for at in range(0, into.nbytes, _PIECE_BYTES):
            end = min(at + _PIECE_BYTES, into.nbytes)
            piece = kept[: end - at]
            np.copyto(piece, old[at:end])
            np.copyto(old[at:end], new[at:end])
            np.copyto(new[at:end], piece)

    def keep(self, into: memoryview, lent: memoryview) -> None:
        """Keep the content of memory that stands in lent memory; it may be changed afterwards."""
        copy_bytes(lent, into)
        with self._lock:
            self._old.append((into, lent))

    def replace(self, into: memoryview, data: memoryview) -> None:
        """Copy data that others need too; the old content is kept elsewhere."""
        kept = memoryview(bytearray(into))
        with self._lock:
            self._old.append((into, kept))
        copy_bytes(into, data)

    def put_back(self) -> None:
        """Let all memory that stands have its old content again."""
        for into, old in reversed(self._old):
            copy_bytes(into, old)
        self._old.clear()


def copy_bytes(into: memoryview, data: memoryview) -> None:
    """Copy bytes without holding other threads up, as a slice assignment would."""
    np.copyto(np.frombuffer(into, np.uint8), np.frombuffer(data, np.uint8))
