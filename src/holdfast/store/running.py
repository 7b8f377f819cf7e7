"""Whether a process of this machine runs, and since which start of it."""

from __future__ import annotations

import os


def is_running(pid: int) -> bool:
    """Say whether there is a process of that number that can still do something."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # It is somebody else's.
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    # Ended, and nobody has asked how: in many containers nobody ever does.
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except (OSError, IndexError):
        return False


def boot_id() -> str | None:
    """Return what names this boot of this machine: the monotonic clock counts from there."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None
