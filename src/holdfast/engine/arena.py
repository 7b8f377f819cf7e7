"""The arena: shared memory that snapshots are copied into and that outlives the trainer.

It is an anonymous file in memory, mapped by the trainer (read and write) and by the persister
(read only). Nothing of it stays behind when both are gone, however they went.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import time

from holdfast.engine.filling import Filling, filling_bytes
from holdfast.engine.shared_file import no_room, shared_file
from holdfast.plan.layout import align
from holdfast.store.memory_pages import address_of, file_bytes, map_shared, provide

_TOUCH_BYTES = 8 << 20
_TOUCHERS = min(4, os.cpu_count() or 1)


class Arena:
    """A block of shared memory of a fixed size, and how far the snapshot in it has come.

    Attributes:
        fd: The file of the memory.
        nbytes: Room for snapshots.
        view: The room.
        address: Where the room begins in this process.
        filling: How far the snapshot in it has come.
        is_used: Whether something was written to it before.
    """

    def __init__(self, fd: int, nbytes: int, *, writable: bool) -> None:
        self.fd = fd
        self.nbytes = nbytes
        self.is_used = False
        self._closed = False
        self._touchers: list[threading.Thread] = []
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        begin, end = _filling_range(nbytes)
        self._map = map_shared(fd, end, access)
        self.view = memoryview(self._map)[:nbytes]
        self.filling = Filling(memoryview(self._map)[begin:end])
        self.address = address_of(self._map)

    @classmethod
    def create(cls, nbytes: int) -> Arena:
        """Return a new arena that the trainer writes to.

        Raises:
            NoSpace: There is not that much memory to share.
        """
        nbytes = max(nbytes, mmap.PAGESIZE)
        fd = shared_file(file_bytes(_filling_range(nbytes)[1]))
        try:
            return cls(fd, nbytes, writable=True)
        except (OSError, ValueError) as error:
            os.close(fd)
            raise no_room(nbytes, error) from error

    def touch(self) -> None:
        """Let the system provide all pages now, in the background.

        A page that is touched for the first time costs ten times what copying into it does; the
        first snapshot shall not pay for it while training waits.
        """
        for first in range(_TOUCHERS):
            name = f"holdfast-touch-{first}"
            toucher = threading.Thread(target=self._touch, args=(first,), name=name, daemon=True)
            self._touchers.append(toucher)
            toucher.start()

    def wait_touched(self, timeout_s: float) -> None:
        """Wait until ``touch`` has done its work, or so long."""
        deadline = time.monotonic() + timeout_s
        for toucher in self._touchers:
            toucher.join(max(0.0, deadline - time.monotonic()))

    def _touch(self, first: int) -> None:
        for begin in range(first * _TOUCH_BYTES, self.nbytes, _TOUCHERS * _TOUCH_BYTES):
            length = min(_TOUCH_BYTES, self.nbytes - begin)
            if self._closed or not provide(self.address + begin, length):
                return

    def close(self) -> None:
        """Unmap and close; the memory goes once the other side has done so too."""
        if self._closed:
            return
        self._closed = True
        self.filling.close()
        self.view.release()
        with contextlib.suppress(BufferError):
            self._map.close()
        os.close(self.fd)


def _filling_range(nbytes: int) -> tuple[int, int]:
    begin = align(nbytes, mmap.PAGESIZE)
    return begin, begin + filling_bytes(nbytes)
