"""A disk of a given size under a run's folder, where the machine allows it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SmallDisk:
    """A file system in memory, that can be made larger; see ``small_disk``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def grow(self, nbytes: int) -> None:
        """Give it more space."""
        _mount("-o", f"remount,size={nbytes}", str(self._folder))


@contextmanager
def small_disk(folder: Path, nbytes: int) -> Iterator[SmallDisk | None]:
    """Put a disk of a size under a folder; None where that is not allowed here.

    Args:
        folder: An empty folder.
        nbytes: Its size in bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not _mount("-t", "tmpfs", "-o", f"size={nbytes},mode=0700", "holdfast-drill", str(folder)):
        yield None
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def _mount(*arguments: str) -> bool:
    try:
        return (
            subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0
        )
    except OSError:
        return False
