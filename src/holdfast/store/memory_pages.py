"""Memory for direct I/O: page-aligned, in large pages where the system has them.

Memory is given out in pages of 4 KiB, each zeroed at its first touch, wherever the system has one.
Large pages (2 MiB) are provided six times as fast, and the disk reads and writes them a tenth to a
third faster, since what lies together for us lies together for the device too. Private memory gets
them by ``MADV_HUGEPAGE``. Shared memory gets them by none of the usual settings; ``MADV_COLLAPSE``
(Linux 6.1) makes them on request. Where there are none, ordinary pages serve (docs/adr/0011).
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap

LARGE_PAGE = 2 << 20

_MADV_POPULATE_WRITE = 23  # Linux 5.14; elsewhere the call fails and nothing is lost
_MADV_COLLAPSE = 25
_ATTEMPTS = 3
_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def private_memory(nbytes: int) -> mmap.mmap:
    """Return zeroed, page-aligned memory that is given back when nothing refers to it."""
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def file_bytes(nbytes: int) -> int:
    """Return how long a file must be for ``map_shared`` to find a place for so many bytes."""
    return nbytes + LARGE_PAGE


def map_shared(fd: int, nbytes: int, prot: int) -> mmap.mmap:
    """Map a file from its begin, so that its pages may be large ones where that can be had.

    Args:
        fd: The file; ``file_bytes(nbytes)`` long.
        nbytes: How much is needed; the mapping may be longer.
        prot: Protection, as for ``mmap.mmap``.
    """
    length = nbytes
    for _ in range(_ATTEMPTS):
        mapped = mmap.mmap(fd, length, flags=mmap.MAP_SHARED, prot=prot)
        excess = address_of(mapped) % LARGE_PAGE
        if excess == 0 or nbytes < LARGE_PAGE:
            return mapped
        # Systems place a mapping right under the last one: one longer by this much fits exactly.
        mapped.close()
        length = nbytes + excess
    return mmap.mmap(fd, nbytes, flags=mmap.MAP_SHARED, prot=prot)


def address_of(memory: mmap.mmap) -> int:
    """Return where memory begins in this process."""
    # Not above: who only looks at a log does without, and starts the sooner.
    import numpy as np

    as_array = np.frombuffer(memory, np.uint8)
    address: int = as_array.__array_interface__["data"][0]
    return address


def provide(address: int, nbytes: int) -> bool:
    """Let the system provide pages now, large ones if it can; say whether it did.

    What is in the memory stays as it is.
    """
    # Only what has a page already is made large.
    for begin in range(address, address + nbytes, LARGE_PAGE):
        _madvise(begin, min(mmap.PAGESIZE, address + nbytes - begin), _MADV_POPULATE_WRITE)
    _madvise(address, nbytes, _MADV_COLLAPSE)
    return bool(_madvise(address, nbytes, _MADV_POPULATE_WRITE) == 0)
