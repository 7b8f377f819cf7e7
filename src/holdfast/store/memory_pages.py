"""Page-aligned memory for direct I/O, in large pages where the system has them."""

from __future__ import annotations

import contextlib
import mmap


def private_memory(nbytes: int) -> mmap.mmap:
    """Return zeroed, page-aligned memory that is given back when nothing refers to it."""
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
