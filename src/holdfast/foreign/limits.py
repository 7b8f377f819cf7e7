"""How much a foreign file may ask for, most of it in proportion to its size."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for reading one foreign file; what passes one is refused.

    Attributes:
        steps: Opcodes of a pickle.
        values: Values of the tree, one that is shared counted each time.
        depth: Containers around a value.
        ratio: What is unpacked, or made of views that overlap, by the size of the file.
        floor_bytes: What may be unpacked or made of any file, however small.
        memory_bytes: Address space of the process that follows the file.
        cpu_s: Processor time of that process, in seconds.
    """

    steps: int = 20_000_000
    values: int = 10_000_000
    depth: int = 64
    ratio: int = 100
    floor_bytes: int = 64 << 20
    memory_bytes: int = 4 << 30
    cpu_s: int = 600

    def most_unpacked(self, packed_bytes: int) -> int:
        """Return how much a compressed stretch may unpack to."""
        return max(self.floor_bytes, self.ratio * packed_bytes)

    def most_array_bytes(self, file_bytes: int) -> int:
        """Return how many bytes all arrays of a file may have together."""
        return max(self.floor_bytes, self.ratio * file_bytes)


class Account:
    """What one file has asked for so far."""

    def __init__(self, limits: Limits, file_bytes: int) -> None:
        self.limits, self.file_bytes = limits, file_bytes
        self._values = self._array_bytes = self._storages = 0

    def add_values(self, count: int) -> bool:
        """Count values of the tree; False where they are too many."""
        self._values += count
        return self._values <= self.limits.values

    @property
    def values(self) -> int:
        """How many values were counted."""
        return self._values

    def add_array(self, nbytes: int) -> bool:
        """Count the bytes of an array; False where they are too many for the file."""
        self._array_bytes += nbytes
        return self._array_bytes <= self.limits.most_array_bytes(self.file_bytes)

    def new_storage(self) -> int:
        """Return a number for a storage."""
        self._storages += 1
        return self._storages
