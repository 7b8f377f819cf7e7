"""Files written and read past the page cache where the system allows it, and through it where not.

A file system may refuse direct I/O when a file is opened, at the first write, or at a length that
is no multiple of the block; each time the rest goes the ordinary way.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from holdfast.store.links import READ_FLAGS

O_DIRECT = getattr(os, "O_DIRECT", 0)
BLOCK = 4096
_IOV_MAX = 1024
_F_NOCACHE = 48  # macOS
REFUSED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP)


def open_for_writing(path: str, mode: int, *, direct: bool) -> int:
    """Create a new file and return its descriptor, for direct I/O if asked and possible."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return _open(path, flags, mode, direct)


def open_for_reading(path: str, *, direct: bool) -> int:
    """Open a file and return its descriptor, for direct I/O if asked and possible."""
    return _open(path, READ_FLAGS, 0, direct)


def _open(path: str, flags: int, mode: int, direct: bool) -> int:
    if direct and O_DIRECT:
        try:
            return os.open(path, flags | O_DIRECT, mode)
        except OSError as error:
            if error.errno not in REFUSED:
                raise
    fd = os.open(path, flags & ~os.O_EXCL if direct and O_DIRECT else flags, mode)
    if direct and sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(fd, _F_NOCACHE, 1)
    return fd


def is_direct(fd: int) -> bool:
    """Say whether the descriptor does direct I/O."""
    if not O_DIRECT:
        return False
    import fcntl

    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & O_DIRECT)


def make_buffered(fd: int) -> None:
    """Turn direct I/O off for a descriptor."""
    if O_DIRECT:
        import fcntl

        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~O_DIRECT)


def write_all(fd: int, buffers: Sequence[memoryview]) -> int:
    """Write buffers one after the other from the file's start; return the bytes written.

    Short writes are continued; a refusal of direct I/O, or a rest that is not aligned, goes on
    through the page cache.
    """
    pending = [b for b in (memoryview(b).cast("B") for b in buffers) if b.nbytes]
    done = 0
    while pending:
        try:
            written = os.writev(fd, pending[:_IOV_MAX])
        except OSError as error:
            if error.errno in REFUSED and is_direct(fd):
                make_buffered(fd)
                continue
            raise
        if written == 0:
            raise OSError(errno.EIO, "the file system wrote nothing")
        done += written
        if written % BLOCK and is_direct(fd):
            make_buffered(fd)
        pending = _advance(pending, written)
    return done


def _advance(buffers: list[memoryview], count: int) -> list[memoryview]:
    i = 0
    while i < len(buffers) and count >= buffers[i].nbytes:
        count -= buffers[i].nbytes
        i += 1
    rest = buffers[i:]
    if count:
        rest[0] = rest[0][count:]
    return rest


def read_exactly(fd: int, into: memoryview, offset: int) -> None:
    """Fill into from offset of a file.

    Raises:
        EOFError: The file ends before.
    """
    done = 0
    while done < into.nbytes:
        try:
            n = _pread(fd, into[done:], offset + done)
        except OSError as error:
            if error.errno in REFUSED and is_direct(fd):
                make_buffered(fd)
                continue
            raise
        if n == 0:
            raise EOFError(f"the file ends at byte {offset + done}")
        done += n
        if n % BLOCK and done < into.nbytes and is_direct(fd):
            make_buffered(fd)


def _pread(fd: int, into: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(fd, [into], offset)
    data = os.pread(fd, into.nbytes, offset)
    into[: len(data)] = data
    return len(data)


def read_if_cached(fd: int, into: memoryview, offset: int) -> bool:
    """Fill into if its bytes are in the page cache; never waits for a disk.

    Only to be called for bytes that ``Residency`` takes to be there: the attempt alone would make
    the kernel read ahead.
    """
    flag = getattr(os, "RWF_NOWAIT", 0)
    if not flag:
        return False
    done = 0
    while done < into.nbytes:
        try:
            n = os.preadv(fd, [into[done:]], offset + done, flag)
        except OSError:
            return False
        if n == 0:
            return False
        done += n
    return True
