"""Whether files are read while a life goes on, whatever library of the script reads them."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

# inotify(7): data was read; a file that was not opened for writing was closed.
_IN_ACCESS, _IN_CLOSE_NOWRITE = 0x1, 0x10
_WANTED = _IN_ACCESS | _IN_CLOSE_NOWRITE
_HEAD = struct.Struct("iIII")
_MOST_BYTES = 1 << 16


class Opened:
    """Watches files until it is closed; where the system cannot do that, nothing is ever seen.

    Args:
        paths: The files. A name that is given to another file meanwhile is not followed.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._fd = -1
        names = [os.fsencode(path) for path in paths]
        libc = ctypes.CDLL(None, use_errno=True)
        if not names or not hasattr(libc, "inotify_init1"):
            return
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd >= 0:
            for name in names:
                libc.inotify_add_watch(self._fd, name, _WANTED)

    def close(self) -> None:
        """Watch no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def any(self) -> bool:
        """Say whether one of them was read since the last question."""
        try:
            data = os.read(self._fd, _MOST_BYTES) if self._fd >= 0 else b""
        except BlockingIOError:
            return False
        at = 0
        while at < len(data):
            _, mask, _, name_bytes = _HEAD.unpack_from(data, at)
            if mask & _WANTED:
                return True
            at += _HEAD.size + name_bytes
        return False
