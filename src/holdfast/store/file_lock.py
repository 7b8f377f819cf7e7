"""An advisory lock on a file: the kernel takes it back when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os

_NOTE_BYTES = 4096


class FileLock:
    """A lock on an open file, whose content is the note of its holder.

    Args:
        fd: Descriptor of the file, open for reading and writing; the lock closes it.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def acquire(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def note(self) -> bytes:
        return os.pread(self._fd, _NOTE_BYTES, 0)

    def write_note(self, note: bytes) -> None:
        # Only told for the sake of who comes second; a full disk is no reason not to go on.
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, note, 0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
