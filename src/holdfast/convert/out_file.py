"""A file that is made at offsets by several threads, past the page cache where that can be had.

Pages of the cache that are touched for the first time are slower than the disk, and what is read
back from them says nothing of it. So the blocks that a long stretch covers wholly are written and
read by direct I/O; its ends, and short stretches, go through the cache. What is read back has been
synchronised before, so that both ways see the same.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from holdfast.store import direct
from holdfast.store.memory_pages import private_memory

BLOCK = direct.BLOCK
_STAGING_BYTES = 8 << 20
_LEAST_DIRECT_BYTES = 1 << 20


class OutFile:
    """A new file of a known size.

    Args:
        path: Where it is made.
        nbytes: Its size; what is not written is zero.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, path: Path, nbytes: int) -> None:
        self._nbytes = nbytes
        self._local = threading.local()
        self._direct_fd = -1
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            os.ftruncate(self._fd, nbytes)
            if direct.O_DIRECT and nbytes >= _LEAST_DIRECT_BYTES:
                self._direct_fd = _opened(path)
        except BaseException:
            self.close()
            raise

    def write(self, data: memoryview | bytes, offset: int) -> None:
        """Write all of data at an offset."""
        view = memoryview(data).cast("B") if len(data) else memoryview(b"")
        begin = -(-offset // BLOCK) * BLOCK
        end = (offset + view.nbytes) // BLOCK * BLOCK
        if self._direct_fd < 0 or end - begin < _LEAST_DIRECT_BYTES:
            self._write_cached(view, offset)
            return
        self._write_cached(view[: begin - offset], offset)
        self._write_blocks(view[begin - offset : end - offset], begin)
        self._write_cached(view[end - offset :], end)

    def read(self, offset: int, nbytes: int) -> Iterator[memoryview]:
        """Yield what is in a stretch, piece by piece, each good until the next; less at the end."""
        is_direct = self._direct_fd >= 0 and nbytes >= _LEAST_DIRECT_BYTES
        end = min(offset + nbytes, self._nbytes)
        while offset < end:
            try:
                found = self._read_piece(offset, end, is_direct=is_direct)
            except OSError as error:
                if not is_direct or error.errno not in direct.REFUSED:
                    raise
                is_direct = False
                continue
            if not found:
                return
            yield found
            offset += len(found)

    def sync(self) -> None:
        """Make all that was written durable."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Close it."""
        for fd in (self._fd, self._direct_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._direct_fd = -1

    # --- one way and the other ---

    def _write_cached(self, view: memoryview, offset: int) -> None:
        done = 0
        while done < view.nbytes:
            done += os.pwrite(self._fd, view[done:], offset + done)

    def _write_blocks(self, view: memoryview, offset: int) -> None:
        """Write whole blocks at a whole block."""
        is_aligned = np.frombuffer(view, np.uint8).ctypes.data % BLOCK == 0
        done = 0
        while done < view.nbytes:
            piece = view[done:]
            if not is_aligned:
                piece = self._staging()[: min(piece.nbytes, _STAGING_BYTES)]
                piece[:] = view[done : done + piece.nbytes]
            try:
                n = os.pwrite(self._direct_fd, piece, offset + done)
            except OSError as error:
                if error.errno not in direct.REFUSED:
                    raise
                n = 0
            # A refusal, or a rest that is no whole block: on through the cache.
            done += n
            if n % BLOCK or n == 0:
                self._write_cached(view[done:], offset + done)
                return

    def _read_piece(self, offset: int, end: int, *, is_direct: bool) -> memoryview:
        """Return what is at an offset, up to an end, as far as the memory for it reaches."""
        buffer, block = self._staging(), BLOCK if is_direct else 1
        first = offset // block * block
        wanted = min(end - first, len(buffer))
        blocks = buffer[: -(-wanted // block) * block]
        n = os.preadv(self._direct_fd if is_direct else self._fd, [blocks], first)
        return buffer[offset - first : min(n, wanted)]

    def _staging(self) -> memoryview:
        buffer: memoryview | None = getattr(self._local, "buffer", None)
        if buffer is None:
            buffer = self._local.buffer = memoryview(private_memory(_STAGING_BYTES))
        return buffer


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | direct.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in direct.REFUSED:
            raise
        return -1
