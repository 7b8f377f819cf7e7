"""Which bytes of a file are in the page cache, asked without touching them."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys

_PAGE = mmap.PAGESIZE
# What is cached is so in stretches: files come and go in large pieces.
_STEP_BYTES = 1 << 20
# It never waits: other threads are not let in for it.
_libc = ctypes.PyDLL(None)
_mincore = _libc.mincore
_mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


class Residency:
    """Knows of one open file what is cached. Nothing ever is where the system cannot tell."""

    def __init__(self, fd: int, size: int) -> None:
        self._size = size
        self._address = 0
        if size and sys.platform == "linux":
            # Here, since commands that only list what is stored would wait for it most of all.
            import numpy as np

            # A file that cannot be mapped can perhaps be read: that tells what is wrong with it.
            with contextlib.suppress(OSError):
                self._map = mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
                as_array = np.frombuffer(self._map, np.uint8)
                self._address = as_array.__array_interface__["data"][0]
                del as_array

    def covers(self, offset: int, nbytes: int) -> bool:
        """Say whether a stretch is in the page cache, by a page in each MiB of it and its last.

        To ask for every page takes as long as to read a fifth of them. What is in the cache only in
        part is found out by the read, which says so (``direct.read_if_cached``).
        """
        if not self._address or offset + nbytes > self._size:
            return False
        begin, last = offset // _PAGE * _PAGE, max(offset, offset + nbytes - 1) // _PAGE * _PAGE
        answer = ctypes.c_ubyte()
        into = ctypes.addressof(answer)
        return all(
            _mincore(self._address + page, _PAGE, into) == 0 and answer.value & 1
            for page in (*range(begin, last, _STEP_BYTES), last)
        )

    def close(self) -> None:
        """Unmap the file."""
        if self._address:
            self._address = 0
            self._map.close()
