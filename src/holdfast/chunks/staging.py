"""What was read and checked waits in lent memory until all is good, or changes places before.

A chunk is read from the disk into memory that the caller lends, and checked there. Once all of
them are good they are copied to where they go, which takes little more than half of what memory
has to do where two pieces change places. But what changes places while the disk brings more costs
no time where memory has some to spare. So one thread does that, as long as more is to come: the
bytes and the old content of where they go are exchanged, piece by piece in the processor's cache,
and the lent memory keeps the old content, so that it can be put back. Only memory that was touched
before is used; new pages would cost more.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

import numpy as np

from holdfast.plan.layout import CHUNK_ALIGNMENT, align
from holdfast.store.memory_copy import copy_bytes
from holdfast.store.memory_pages import private_memory
from holdfast.store.scratch import Scratch

_PIECE_BYTES = 256 << 10
# What one thread copies at a time, at least.
_PORTION_BYTES = 8 << 20


class Held(NamedTuple):
    """Bytes that were checked, and where they go."""

    into: memoryview
    data: memoryview


class Staging:
    """Lends out memory to read into, and knows what of it goes where; for several threads.

    Args:
        memory: Page-aligned memory that nobody needs.
        more_bytes: How much more may be taken of the system, at the price of new pages.
    """

    def __init__(self, memory: memoryview, more_bytes: int = 0) -> None:
        self._memory = memory
        self._more_bytes = more_bytes
        self._fill = 0
        self._lock = threading.Lock()
        self._exchanging = threading.Lock()
        self._pieces = Scratch(_PIECE_BYTES)
        self._to_come = 0
        self._held: deque[Held] = deque()
        self._exchanged: list[Held] = []

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

    def expect(self, batches: int) -> None:
        """Be told that so many batches are being read, each of which ``arrived`` tells of."""
        with self._lock:
            self._to_come += batches

    def hold(self, into: memoryview, data: memoryview) -> None:
        """Keep checked bytes that go somewhere; they are in lent memory, or in their own."""
        with self._lock:
            self._held.append(Held(into, data))

    def arrived(self) -> None:
        """Be told that a batch is there; exchange what is held, unless another thread does."""
        with self._lock:
            self._to_come -= 1
        if self._exchanging.acquire(blocking=False):
            try:
                while (held := self._next()) is not None:
                    self._exchange(*held)
            finally:
                self._exchanging.release()

    def take(self) -> list[list[Held]]:
        """Return what is still held, in portions that can be copied at the same time."""
        portions: list[list[Held]] = []
        nbytes = 0
        for held in self._held:
            if not portions or nbytes >= _PORTION_BYTES:
                portions.append([])
                nbytes = 0
            portions[-1].append(held)
            nbytes += held.data.nbytes
        self._held.clear()
        return portions

    def put_back(self) -> None:
        """Let all memory that stands have its old content again."""
        for into, old in reversed(self._exchanged):
            copy_bytes(into, old)
        self._exchanged.clear()

    def _next(self) -> Held | None:
        """Return what is to be exchanged now; when all has come, the rest is copied faster."""
        with self._lock:
            if not self._to_come or not self._held:
                return None
            self._exchanged.append(self._held.popleft())
            return self._exchanged[-1]

    def _exchange(self, into: memoryview, data: memoryview) -> None:
        kept = np.frombuffer(self._pieces.memory("kept", _PIECE_BYTES), np.uint8)
        new, old = np.frombuffer(data, np.uint8), np.frombuffer(into, np.uint8)
        for at in range(0, into.nbytes, _PIECE_BYTES):
            end = min(at + _PIECE_BYTES, into.nbytes)
            piece = kept[: end - at]
            np.copyto(piece, old[at:end])
            np.copyto(old[at:end], new[at:end])
            np.copyto(new[at:end], piece)


def copy_held(portion: list[Held]) -> None:
    """Copy bytes to where they go."""
    for into, data in portion:
        copy_bytes(into, data)
