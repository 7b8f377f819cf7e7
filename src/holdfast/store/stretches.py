"""A stretch of somebody's file that is read once: from the page cache if it is there, else past it.

What is read once would only push other things out of the cache, and its pages, touched for the
first time, are slower than the disk.
"""

from __future__ import annotations

import os
import threading
from contextlib import closing

from holdfast.store import direct
from holdfast.store.memory_pages import private_memory
from holdfast.store.residency import Residency

_LEAST_DIRECT_BYTES = 1 << 20
_STAGING_BYTES = 4 << 20
_local = threading.local()


def read_stretch(fd: int, into: memoryview, offset: int) -> int:
    """Fill into with what is at an offset of an open file.

    Args:
        fd: Its descriptor, for reading through the cache.
        into: Where the bytes go.
        offset: Where they are.

    Returns:
        How many bytes there were; less than wanted only where the file ends.

    Raises:
        OSError: It cannot be read.
    """
    done = 0
    if into.nbytes >= _LEAST_DIRECT_BYTES and not _is_cached(fd, offset, into.nbytes):
        done = _read_past_cache(fd, into, offset)
    while done < into.nbytes:
        n = os.preadv(fd, [into[done:]], offset + done)
        if n == 0:
            break
        done += n
    return done


def _is_cached(fd: int, offset: int, nbytes: int) -> bool:
    with closing(Residency(fd, os.fstat(fd).st_size)) as residency:
        return residency.covers(offset, nbytes)


def _read_past_cache(fd: int, into: memoryview, offset: int) -> int:
    """Read what can be read by direct I/O, in whole blocks; return how many bytes that were."""
    try:
        # The same file, whatever its path has become; there is no such place but on Linux.
        other = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC | direct.O_DIRECT)
    except OSError:
        return 0
    done, staging = 0, _staging()
    try:
        while done < into.nbytes:
            first = (offset + done) // direct.BLOCK * direct.BLOCK
            skipped = offset + done - first
            wanted = min(into.nbytes - done + skipped, _STAGING_BYTES)
            n = os.preadv(other, [staging[: -(-wanted // direct.BLOCK) * direct.BLOCK]], first)
            found = staging[skipped : min(n, wanted)]
            if not found:
                break
            into[done : done + len(found)] = found
            done += len(found)
    except OSError as error:
        if error.errno not in direct.REFUSED:
            raise
    finally:
        os.close(other)
    return done


def _staging() -> memoryview:
    buffer: memoryview | None = getattr(_local, "buffer", None)
    if buffer is None:
        buffer = _local.buffer = memoryview(private_memory(_STAGING_BYTES))
    return buffer
