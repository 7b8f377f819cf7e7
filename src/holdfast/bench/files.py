"""Files around a measurement: made durable, drawn into the page cache or pushed out of it."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_READ_BYTES = 16 << 20


def sync_tree(folder: Path) -> None:
    """Make a folder durable: fsync of every file and every directory in it, and of its parent."""
    for path in [*folder.rglob("*"), folder, folder.parent]:
        sync(path)


def sync(path: Path) -> None:
    """Make one file or directory durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def settle() -> None:
    """Let the disk finish what earlier measurements left behind."""
    os.sync()


def warm(folder: Path) -> None:
    """Read every file through the page cache, so that it is there."""
    buffer = bytearray(_READ_BYTES)
    for path in _files(folder):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def evict(folder: Path) -> float:
    """Push every file out of the page cache.

    Returns:
        The share of the bytes that is still cached afterwards, 0 for a truly cold start, or NaN
        where the system cannot tell.
    """
    if not hasattr(os, "posix_fadvise"):
        return float("nan")
    cached = total = 0
    for path in _files(folder):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)  # Only clean pages can be dropped.
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            size = os.fstat(fd).st_size
            total += size
            cached += _cached_bytes(fd, size)
        finally:
            os.close(fd)
    return cached / total if total else 0.0


def remove(folder: Path) -> None:
    """Delete a folder and let the disk finish with it."""
    shutil.rmtree(folder, ignore_errors=True)
    settle()


def tree_bytes(folder: Path) -> int:
    """Return the size of all files in a folder."""
    return sum(path.stat().st_size for path in _files(folder))


def file_system(folder: Path) -> str:
    """Return the type of the file system a folder is on, or "unknown"."""
    best, kind = "", "unknown"
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, point, fs_type, *_ = line.split()
            if folder.resolve().is_relative_to(point) and len(point) >= len(best):
                best, kind = point, fs_type
    return kind


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _cached_bytes(fd: int, size: int) -> int:
    """Ask the kernel how much of a file is in the page cache (mincore)."""
    if size == 0:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    with mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as view:
        pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
        states = (ctypes.c_ubyte * pages)()
        # from_buffer needs a writable view; private and never written, so the file stays as it is.
        start = ctypes.c_char.from_buffer(view)
        address = ctypes.addressof(start)
        failed = libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), states)
        del start
        return 0 if failed else sum(state & 1 for state in states) * mmap.PAGESIZE
