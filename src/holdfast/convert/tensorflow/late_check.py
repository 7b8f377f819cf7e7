"""Checksums of arrays that are read in whatever order, compared when all of one was read."""

from __future__ import annotations

import threading
from collections.abc import Callable

from holdfast.foreign.checksums import checksum, combined, masked


class LateCheck:
    """Compares an array's masked CRC32C when all of it was read.

    Args:
        expected: The masked CRC32C.
        nbytes: Bytes of the array.
        error: Makes what is raised where it is another.
    """

    def __init__(self, expected: int, nbytes: int, error: Callable[[], Exception]) -> None:
        self._expected, self._nbytes, self._error = expected, nbytes, error
        self._seen: dict[int, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def saw(self, begin: int, data: memoryview) -> None:
        """Take note of bytes that were read.

        Raises:
            ForeignDamaged: They were the last ones, and the checksum is another.
        """
        value = checksum("crc32c")(data)
        with self._lock:
            self._seen[begin] = value, data.nbytes
            parts = self._whole()
        if parts is not None and masked(combined("crc32c", parts)) != self._expected:
            raise self._error()

    def _whole(self) -> list[tuple[int, int]] | None:
        """Return what was read, in order; None unless it is all of the array."""
        if sum(n for _, n in self._seen.values()) != self._nbytes:
            return None
        at, parts = 0, []
        for begin, part in sorted(self._seen.items()):
            if begin != at:
                return None
            parts.append(part)
            at += part[1]
        return parts
