"""What a folder needs so that its files come and go for good."""

from __future__ import annotations

import os
from contextlib import suppress


def sync_folder(folder: str) -> None:
    """Make durable which files a folder has; one that is gone has none."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def forget(path: str) -> None:
    """Remove a file that is of no use any more, if that can be done."""
    with suppress(OSError):
        os.unlink(path)
