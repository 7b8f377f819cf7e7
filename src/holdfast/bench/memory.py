"""Host memory of this process and all its children, shared pages counted once.

Memory that is mapped by two processes must not be told from the sum of their shares, which are
read one after the other while the second process maps more and more of it: anonymous files are
counted by themselves.
"""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PROC = Path("/proc")
_INTERVAL_S = 0.01
_OWN = ("Pss_Anon:", "Pss_File:")


class Peak:
    """The highest sum seen so far, and the one it started from."""

    def __init__(self, start_bytes: int) -> None:
        self.start_bytes = self.peak_bytes = start_bytes

    @property
    def extra_bytes(self) -> int:
        """How far it rose."""
        return self.peak_bytes - self.start_bytes


def measurable() -> bool:
    """Say whether the system tells proportional set sizes (Linux)."""
    return (_PROC / "self" / "smaps_rollup").exists()


@contextmanager
def watched() -> Iterator[Peak]:
    """Sample the memory in a thread while the block runs, and once more when it has run."""
    _return_free_memory()
    peak, stop = Peak(_family_bytes()), threading.Event()

    def sample() -> None:
        is_over = False
        while not is_over:
            is_over = stop.wait(_INTERVAL_S)
            peak.peak_bytes = max(peak.peak_bytes, _family_bytes())

    thread = threading.Thread(target=sample, name="memory-watch", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _return_free_memory() -> None:
    """Hand what was freed back to the system: used again, it would not show as a rise."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _family_bytes() -> int:
    """Sum the memory of all processes that is their own, and the anonymous files that they hold."""
    family = _family()
    files: dict[int, int] = {}
    for pid in family:
        files.update(_anonymous_files(pid))
    return sum(_own_bytes(pid) for pid in family) + sum(files.values())


def _family() -> set[int]:
    """Return this process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                # The name in brackets may hold blanks; the parent is the second field after it.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # It ended meanwhile.
            children.setdefault(parent, []).append(int(entry.name))
    family, todo = set(), [os.getpid()]
    while todo:
        family.add(pid := todo.pop())
        todo += children.get(pid, [])
    return family


def _own_bytes(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(_OWN))


def _anonymous_files(pid: int) -> dict[int, int]:
    """Return the bytes of memory that each anonymous file of a process takes, by inode."""
    found: dict[int, int] = {}
    try:
        entries = list((_PROC / str(pid) / "fd").iterdir())
    except OSError:
        return found
    for entry in entries:
        with suppress(OSError):
            if os.readlink(entry).startswith("/memfd:"):
                status = entry.stat()
                found[status.st_ino] = status.st_blocks * 512
    return found
