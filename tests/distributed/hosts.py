"""Hosts played by folders and the processes that work in them, which are lost together."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from distributed.launching import Job


def processes_of(pids: Iterable[int]) -> set[int]:
    """Return processes and all that they have started and that still are their children."""
    found, children = set(), _children()
    todo = list(pids)
    while todo:
        pid = todo.pop()
        found.add(pid)
        todo += children.get(pid, [])
    return found


def lose(job: Job, ranks: Iterable[int], folder: Path) -> None:
    """Lose a host: its processes at one stroke, with their memory, and its disk."""
    for pid in processes_of(job.processes[rank].pid for rank in ranks):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def wait_for(job: Job, rank: int, word: str, timeout_s: float = 120) -> None:
    """Wait until a rank has printed something."""
    until_s = time.monotonic() + timeout_s
    while word not in job.said(rank):
        assert time.monotonic() < until_s, job.said(rank)
        assert job.processes[rank].poll() is None, job.said(rank)
        time.sleep(0.02)


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            found.setdefault(parent, []).append(int(entry))
    return found
