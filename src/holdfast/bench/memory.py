"""Host memory of this process and all its children, shared pages counted once."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROC = Path("/proc")
_INTERVAL_S = 0.01


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
    """Sample the memory in a thread while the block runs."""
    _return_free_memory()
    peak, stop = Peak(_family_bytes()), threading.Event()

    def sample() -> None:
        while not stop.wait(_INTERVAL_S):
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
    """Sum the proportional set sizes: a page that two processes map counts half in each."""
    return sum(_pss_bytes(pid) for pid in _family())


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


def _pss_bytes(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
