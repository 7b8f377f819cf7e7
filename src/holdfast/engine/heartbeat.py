"""Shared memory in which the trainer notes its step and counts what steps take, without a call."""

from __future__ import annotations

import mmap
import os

from holdfast.engine.shared_file import shared_file
from holdfast.engine.tally import TALLY_BYTES, Tally

_SIZE = mmap.PAGESIZE
_TALLY_AT = 64


class Heartbeat:
    """The step that the trainer has reached, readable after its death. -1 before the first.

    Attributes:
        tally: What its steps took.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, _SIZE)
        self._words = memoryview(self._map).cast("q")
        self._tally_memory = memoryview(self._map)[_TALLY_AT : _TALLY_AT + TALLY_BYTES]
        self.tally = Tally(self._tally_memory)

    @classmethod
    def create(cls) -> Heartbeat:
        """Return a new heartbeat, for the trainer.

        Raises:
            NoSpace: There is no memory for it.
        """
        heartbeat = cls(shared_file(_SIZE))
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
        self.tally.close()
        self._tally_memory.release()
        self._words.release()
        self._map.close()
        os.close(self.fd)
        self.fd = -1
