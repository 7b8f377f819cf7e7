"""Which bytes of a file are in the page cache, asked without touching them."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys

_PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
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
        """Say whether all bytes of a stretch are in the page cache."""
        if not self._address or offset + nbytes > self._size:
            return False
        begin = offset // _PAGE * _PAGE
        # Most often all of a stretch is cached or nothing: its first page tells the latter.
        return self._all_cached(begin, 1) and self._all_cached(begin, offset + nbytes - begin)

    def _all_cached(self, begin: int, length: int) -> bool:
        import numpy as np

        pages = np.empty(-(-length // _PAGE), np.uint8)
        if _mincore(self._address + begin, length, pages.ctypes.data) != 0:
            return False
        return bool((pages & 1).all())

    def close(self) -> None:
        """Unmap the file."""
        if self._address:
            self._address = 0
            self._map.close()
