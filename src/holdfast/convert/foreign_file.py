"""A foreign file that stays open, and the arrays that lie in it as they are."""

from __future__ import annotations

import os

from holdfast.errors import ForeignDamaged
from holdfast.foreign.arrays import ForeignArray
from holdfast.store.stretches import read_stretch


class ForeignFile:
    """A file that arrays are read from; stays open until it is closed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._fd = -1
        self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._fd).st_size

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill memory with the bytes at an offset.

        Raises:
            ForeignDamaged: The file ends before.
        """
        if read_stretch(self._fd, into, offset) < into.nbytes:
            raise ForeignDamaged(f"{self.path!r} is cut short: it ends at byte {self.size}.")

    def read(self, offset: int, nbytes: int) -> bytes:
        """Return the bytes at an offset; no more than the file has are ever asked for.

        Raises:
            ForeignDamaged: The file ends before.
        """
        if offset < 0 or nbytes < 0 or offset + nbytes > self.size:
            raise ForeignDamaged(f"{self.path!r} is cut short: it ends at byte {self.size}.")
        data = bytearray(nbytes)
        self.read_into(offset, memoryview(data))
        return bytes(data)

    def array(
        self, framework: str, dtype: str, shape: tuple[int, ...], offset: int
    ) -> ForeignArray:
        """Return the array whose dense bytes begin at an offset.

        Raises:
            ForeignDamaged: The file ends before it does.
        """
        array = ForeignArray(
            framework,
            dtype,
            shape,
            lambda at, into: self.read_into(offset + at, into),
            (self.path, offset, dtype, shape),
        )
        if offset < 0 or offset + array.nbytes > self.size:
            raise ForeignDamaged(f"{self.path!r} is cut short: it ends at byte {self.size}.")
        return array

    def close(self) -> None:
        """Close the file; its arrays cannot be read any more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()
