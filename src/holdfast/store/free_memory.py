"""How much memory may still be taken, before somebody has to be killed for it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_MEMINFO = "/proc/meminfo"
# What a container sees of its own limit.
_GROUP = "/sys/fs/cgroup"


def free_memory_bytes(meminfo: str = _MEMINFO, group: str = _GROUP) -> int | None:
    """Return what the system has to give, or the control group where that is less.

    Caches count as free. None where the system does not tell.

    Args:
        meminfo: The file that tells of the system.
        group: The folder that tells of the control group.
    """
    free = _of_system(Path(meminfo))
    if free is not None:
        with suppress(OSError, ValueError, KeyError):
            free = min(free, _of_group(Path(group)))
    return free


def _of_system(meminfo: Path) -> int | None:
    try:
        return _numbers(meminfo)["MemAvailable:"] * 1024
    except (OSError, ValueError, KeyError):
        return None


def _of_group(group: Path) -> int:
    limit = int((group / "memory.max").read_text())
    used, of_what = int((group / "memory.current").read_text()), _numbers(group / "memory.stat")
    # Files can be dropped and read again; shared memory, which is told among them, cannot.
    return max(limit - used + of_what["file"] - of_what["shmem"], 0)


def _numbers(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines}
