"""A folder in memory for libraries that read and write files only.

A process that is killed leaves its folder behind, and memory with it. Each folder has a lock, which
the kernel frees when its owner dies; whoever makes the next folder removes those.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
import weakref
from contextlib import suppress
from pathlib import Path

_PREFIX = "holdfast-files-"
_SHARED = Path("/dev/shm")
# Until its owner has locked it, a folder is left alone.
_NEW_S = 60.0


class MemoryFolder:
    """A new folder, in memory where the system has a place for that; ``close`` removes it.

    Attributes:
        path: Where it is.
    """

    def __init__(self) -> None:
        base = _SHARED if os.access(_SHARED, os.W_OK) else Path(tempfile.gettempdir())
        _remove_left_behind(base)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        self._lock = os.open(self.path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._end = weakref.finalize(self, _remove, self.path, self._lock)

    def close(self) -> None:
        """Remove the folder with what is in it."""
        self._end()

    def close_with(self, owner: object) -> None:
        """Remove it when an object dies, which may still read from it."""
        # This keeps the folder's own object alive until then.
        weakref.finalize(owner, self.close)


def _remove(path: Path, lock: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


def _remove_left_behind(base: Path) -> None:
    for path in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime < _NEW_S:
                continue
            lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
