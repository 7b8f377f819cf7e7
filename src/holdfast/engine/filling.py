"""How far a snapshot has come, told in shared memory while it is being taken.

The persister need not wait for the last byte: chunks that are known to differ from the snapshot
before can be written at once, while the training loop is still held for the rest. Only the trainer
writes here. A snapshot that is never completed, because its trainer was interrupted or died, never
becomes a checkpoint.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence

import numpy as np

from holdfast.plan.layout import CHUNK_ALIGNMENT, align

_UNKNOWN, _CHANGED, _UNCHANGED = 0, 1, 2
_FILLING, _COMPLETE, _ABANDONED = 1, 2, 3
_STATUS, _HELD, _COMPLETED, _BEGAN = 0, 8, 16, 24
_HEADER_BYTES = 64


class Filling:
    """The state of the snapshot in an arena, and of each of its chunks.

    Args:
        memory: Zeroed shared memory of ``filling_bytes`` of the arena's size.
    """

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._chunks = np.frombuffer(memory, np.uint8)[_HEADER_BYTES:]

    # --- the trainer's side ---

    def begin(self) -> None:
        """Say that a snapshot is being taken, of which nothing is known yet."""
        self._chunks[:] = _UNKNOWN
        struct.pack_into("=d", self._memory, _BEGAN, time.monotonic())
        self._memory[_STATUS] = _FILLING

    def mark(self, chunk: int, *, changed: bool) -> None:
        """Say that a chunk is there, and whether the arena held the same bytes before."""
        self._chunks[chunk] = _CHANGED if changed else _UNCHANGED

    def complete(self, held_s: float, now_s: float) -> None:
        """Say that every chunk is there."""
        struct.pack_into("=dd", self._memory, _HELD, held_s, now_s)
        self._memory[_STATUS] = _COMPLETE

    def abandon(self) -> None:
        """Say that the snapshot will never be complete."""
        self._memory[_STATUS] = _ABANDONED

    # --- the persister's side ---

    @property
    def is_going_on(self) -> bool:
        """Whether the snapshot is still being taken."""
        return self._memory[_STATUS] == _FILLING

    @property
    def is_complete(self) -> bool:
        """Whether every chunk is there."""
        return self._memory[_STATUS] == _COMPLETE

    @property
    def held_s(self) -> float:
        """Seconds that the loop was held, once complete."""
        return self._float(_HELD)

    @property
    def completed_s(self) -> float:
        """When it was complete, on the monotonic clock of the machine."""
        return self._float(_COMPLETED)

    @property
    def taken_s(self) -> float:
        """Seconds from its beginning until it was complete."""
        return max(self.completed_s - self._float(_BEGAN), 0.0)

    def changed(self) -> Sequence[int]:
        """Return the chunks known so far to differ from what the arena held before."""
        found: list[int] = np.flatnonzero(self._chunks == _CHANGED).tolist()
        return found

    def unchanged(self) -> Sequence[int]:
        """Return the chunks known to be what the arena held before."""
        found: list[int] = np.flatnonzero(self._chunks == _UNCHANGED).tolist()
        return found

    def close(self) -> None:
        """Give the memory back."""
        self._chunks = np.empty(0, np.uint8)
        self._memory.release()

    def _float(self, at: int) -> float:
        value: float = struct.unpack_from("=d", self._memory, at)[0]
        return value


def filling_bytes(arena_bytes: int) -> int:
    """Return the size of the memory for an arena: a chunk takes an aligned block of it at least."""
    return align(_HEADER_BYTES + arena_bytes // CHUNK_ALIGNMENT + 1, CHUNK_ALIGNMENT)
