"""Chunks made as they are needed, in bounded memory: for saves that are waited for anyway."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from holdfast.chunks.source import Abandoned
from holdfast.plan.layout import CHUNK_ALIGNMENT, CHUNK_BYTES, Layout, align
from holdfast.store.memory_pages import private_memory

BUDGET_BYTES = 256 << 20
# A pack that is being filled may hold two chunks, and one more must find room.
assert BUDGET_BYTES >= 3 * CHUNK_BYTES

Fill = Callable[[int, memoryview], None]


class StreamSource:
    """Fills the buffer of a chunk when it is first asked for, and uses it again when released.

    Buffers are given out in the order of the chunks: a chunk that is waited for can never be
    starved by ones that come later.
    """

    def __init__(self, layout: Layout, fill: Fill) -> None:
        self._layout = layout
        self._fill = fill
        self._turn = 0
        self._used = 0
        self._is_abandoned = False
        self._held: dict[int, memoryview] = {}
        self._free: dict[int, list[memoryview]] = {}
        self._changed = threading.Condition()

    def arriving(self) -> Iterator[int]:
        """Yield nothing: chunks are made when they are asked for."""
        return iter(())

    def acquire(self, chunk: int) -> memoryview:
        """Return a chunk's bytes, zero-padded; waits until there is room."""
        length = self._layout.lengths[chunk]
        size = align(length, CHUNK_ALIGNMENT)
        with self._changed:
            if chunk in self._held:
                return self._held[chunk][:size]
            self._changed.wait_for(lambda: self._is_abandoned or self._has_room(chunk, size))
            if self._is_abandoned:
                raise Abandoned
            self._turn += 1
            self._used += size
            buffer = self._held[chunk] = self._buffer(size)
            self._changed.notify_all()
        view = buffer[:size]
        self._fill(chunk, view)
        view[length:] = bytes(size - length)
        return view

    def release(self, chunk: int) -> None:
        """Take a chunk's buffer back."""
        with self._changed:
            buffer = self._held.pop(chunk)
            self._used -= align(self._layout.lengths[chunk], CHUNK_ALIGNMENT)
            self._free.setdefault(buffer.nbytes, []).append(buffer)
            self._changed.notify_all()

    def abandon(self) -> None:
        """Let every ``acquire`` that waits, or comes later, raise ``Abandoned``."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify_all()

    def _has_room(self, chunk: int, size: int) -> bool:
        return self._turn == chunk and self._used + size <= BUDGET_BYTES

    def _buffer(self, size: int) -> memoryview:
        capacity = 1 << (size - 1).bit_length()
        free = self._free.get(capacity)
        if free:
            return free.pop()
        return memoryview(private_memory(capacity))
