"""A word of shared memory in which the trainer notes its step: one store per step, no call."""

from __future__ import annotations

import mmap
import os

from holdfast.engine.arena import anonymous_file

_SIZE = mmap.PAGESIZE


class Heartbeat:
    """The step that the trainer has reached, readable after its death. -1 before the first."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, _SIZE)
        self._words = memoryview(self._map).cast("q")

    @classmethod
    def create(cls) -> Heartbeat:
        """Return a new heartbeat, for the trainer."""
        fd = anonymous_file()
        os.ftruncate(fd, _SIZE)
        heartbeat = cls(fd)
        heartbeat.beat(-1)
        return heartbeat

    @classmethod
    def attach(cls, fd: int) -> Heartbeat:
        """Return the trainer's heartbeat, for the persister."""
        return cls(fd)

    def beat(self, step: int) -> None:
        """Note that step is done."""
        self._words[0] = step

    @property
    def step(self) -> int:
        """The last step noted."""
        return self._words[0]

    def close(self) -> None:
        """Unmap and close."""
        if self.fd < 0:
            return
        self._words.release()
        self._map.close()
        os.close(self.fd)
        self.fd = -1
