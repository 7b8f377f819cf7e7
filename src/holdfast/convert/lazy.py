"""Arrays that are still in a foreign file: known by dtype and shape, read piece by piece."""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any, final

from holdfast.errors import ForeignDamaged
from holdfast.foreign.arrays import ForeignArray
from holdfast.state.arrays import ArraySpec, register_adapter
from holdfast.store.stretches import read_stretch

# One and the same, whether it is found in a pickle, a header or a library's file.
LazyArray = ForeignArray


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


@final
class LazyAdapter:
    """Lets lazy arrays be leaves of a state that is saved."""

    framework = "foreign"
    mutable = False

    def is_array(self, value: object) -> bool:
        return isinstance(value, ForeignArray)

    def describe(self, value: Any, path: str) -> tuple[ArraySpec, Hashable | None, int | None]:
        spec = ArraySpec(value.framework, value.dtype, value.shape, value.nbytes)
        return spec, value.identity, None

    def count_changes(self, value: Any) -> int | None:
        return 0

    def export(self, value: Any, into: memoryview) -> None:
        value.read(0, into)

    def export_range(self, value: Any, begin: int, into: memoryview) -> None:
        value.read(begin, into)

    def is_writable(self, value: Any) -> bool:
        return False

    def assign(self, value: Any, data: memoryview) -> None:
        raise TypeError("a foreign array is only read")

    def create(self, spec: ArraySpec, like: Any | None) -> tuple[Any, memoryview]:
        raise TypeError("a foreign array is only read")

    def finish(self, value: Any, like: Any | None) -> Any:
        raise TypeError("a foreign array is only read")


register_adapter(LazyAdapter())
