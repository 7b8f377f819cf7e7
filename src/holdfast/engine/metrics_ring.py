"""Shared memory through which the trainer's metrics reach the persister: no call, no waiting.

What was put there outlives the trainer, even one that is killed. It is a ring: two counters, of
bytes put and bytes taken, and the bytes.
"""

from __future__ import annotations

import mmap
import os

from holdfast.engine.shared_file import shared_file

RING_BYTES = 1 << 20
_HEAD_BYTES = mmap.PAGESIZE
_PUT, _TAKEN = 0, 1


class MetricsRing:
    """Lines, each with its end, on their way from one process to another. One of each side."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, _HEAD_BYTES + RING_BYTES)
        self._counters = memoryview(self._map)[:16].cast("Q")
        self._data = memoryview(self._map)[_HEAD_BYTES:]

    @classmethod
    def create(cls) -> MetricsRing:
        """Return a new ring, for the trainer.

        Raises:
            NoSpace: There is no memory for it.
        """
        return cls(shared_file(_HEAD_BYTES + RING_BYTES))

    @classmethod
    def attach(cls, fd: int) -> MetricsRing:
        """Return the trainer's ring, for the persister."""
        return cls(fd)

    def put(self, data: bytes) -> bool:
        """Add data as a whole, or say that there is no room now."""
        put = self._counters[_PUT]
        if len(data) > RING_BYTES - (put - self._counters[_TAKEN]):
            return False
        at = put % RING_BYTES
        first = min(len(data), RING_BYTES - at)
        self._data[at : at + first] = data[:first]
        self._data[: len(data) - first] = data[first:]
        # Last, and in one store: what is counted is there as a whole.
        self._counters[_PUT] = put + len(data)
        return True

    def peek(self) -> bytes:
        """Return what was put and not taken yet."""
        taken = self._counters[_TAKEN]
        count = self._counters[_PUT] - taken
        at = taken % RING_BYTES
        first = min(count, RING_BYTES - at)
        return bytes(self._data[at : at + first]) + bytes(self._data[: count - first])

    def take(self, count: int) -> None:
        """Give the room of the first bytes back."""
        self._counters[_TAKEN] += count

    def close(self) -> None:
        """Unmap and close."""
        self._counters.release()
        self._data.release()
        self._map.close()
        os.close(self.fd)
