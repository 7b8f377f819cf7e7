"""An object that is a file, opened: through the page cache, or past it."""

from __future__ import annotations

import errno
import os
import stat
import threading

from holdfast.store import direct
from holdfast.store.os_errors import translated
from holdfast.store.residency import Residency


class FileReader:
    """An open file of the store."""

    def __init__(self, key: str, path: str) -> None:
        self.key = key
        self._path = path
        self._fd = direct.open_for_reading(path, direct=False)
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            raise FileNotFoundError(errno.ENOENT, "not a file", path)
        self._direct_fd = -1
        self._residency: Residency | None = None
        self._lock = threading.Lock()
        self.size = os.fstat(self._fd).st_size

    def read(self, into: memoryview, offset: int) -> None:
        with translated("read", self.key):
            direct.read_exactly(self._fd, into, offset)

    def is_cached(self, offset: int, nbytes: int) -> bool:
        with self._lock:
            if self._residency is None:
                self._residency = Residency(self._fd, self.size)
        return self._residency.covers(offset, nbytes)

    def read_cached(self, into: memoryview, offset: int) -> bool:
        return direct.read_if_cached(self._fd, into, offset)

    def read_uncached(self, into: memoryview, offset: int) -> None:
        with translated("read", self.key):
            with self._lock:
                if self._direct_fd < 0:
                    self._direct_fd = direct.open_for_reading(self._path, direct=True)
            direct.read_exactly(self._direct_fd, into, offset)

    def close(self) -> None:
        for fd in (self._fd, self._direct_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._direct_fd = -1
        if self._residency is not None:
            self._residency.close()
