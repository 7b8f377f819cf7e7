"""Arrays of a foreign file as handles: what they are and where, until somebody asks for bytes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from holdfast.errors import MissingDependency, UnsupportedLeaf
from holdfast.foreign.layout import Box, Boxes
from holdfast.format import dtypes

PIECE_BYTES = 32 << 20

ReadInto = Callable[[int, memoryview], None]


@dataclass(frozen=True, slots=True, eq=False)
class ForeignArray:
    """An array or tensor of a foreign file.

    Attributes:
        framework: Whose array it was, and becomes: ``numpy`` or ``torch``.
        dtype: A name of ``holdfast.format.dtypes``.
        shape: In elements.
        read: Fills memory with the array's bytes, dense in C order and little-endian, from an
            offset on; may be called from several threads.
        identity: Equal for arrays that are one and the same; None if nobody knows.
    """

    framework: str
    dtype: str
    shape: tuple[int, ...]
    read: ReadInto
    identity: Hashable = None

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return dtypes.itemsize(self.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return prod(self.shape) * self.itemsize

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes that make it up: one, or several where it was saved in shards.

        None, where its bytes are had in another way.
        """
        return self.read.boxes if isinstance(self.read, Boxes) else ()

    @property
    def storages(self) -> frozenset[int]:
        """Numbers of the storages that it looks at; tied tensors have the same."""
        return frozenset(box.view.storage for box in self.boxes)

    def pieces(self, piece_bytes: int = PIECE_BYTES) -> Iterator[memoryview]:
        """Yield the elements' bytes, dense in C order and little-endian, piece by piece.

        Raises:
            ForeignDamaged: The file is shorter than it was.
        """
        for begin in range(0, self.nbytes, piece_bytes):
            piece = memoryview(bytearray(min(piece_bytes, self.nbytes - begin)))
            self.read(begin, piece)
            yield piece

    def numpy(self) -> np.ndarray[Any, np.dtype[Any]]:
        """Return the array in new memory.

        Raises:
            MissingDependency: Its dtype is of the package ``ml_dtypes``, which is not installed.
            UnsupportedLeaf: NumPy has no such dtype.
            ForeignDamaged: The file is shorter than it was.
        """
        dtype = _numpy_dtype(self.dtype)
        if not self.nbytes:
            return np.zeros(self.shape, dtype)
        raw = np.empty(self.nbytes, np.uint8)
        self.read(0, raw.data)
        return raw.view(dtype).reshape(self.shape)


def boxed_array(
    dtype: str, shape: tuple[int, ...], boxes: tuple[Box, ...], framework: str = "numpy"
) -> ForeignArray:
    """Return the array that boxes make up; two over the same boxes are one and the same."""
    itemsize = dtypes.itemsize(dtype)
    word = itemsize // 2 if dtype.startswith("complex") else itemsize
    found = tuple(
        (b.at, b.view.source, b.view.offset, b.view.shape, b.view.strides, b.view.big_endian)
        for b in boxes
    )
    read = Boxes(shape, boxes, itemsize, word)
    # Of arrays without elements nobody can say whether they are the same.
    return ForeignArray(framework, dtype, shape, read, (dtype, found) if prod(shape) else None)


def _numpy_dtype(name: str) -> np.dtype[Any]:
    try:
        return dtypes.to_numpy(name)
    except ImportError as error:
        raise MissingDependency(
            f"{name} needs a package that is not installed: pip install ml_dtypes.",
            package="ml_dtypes",
        ) from error
    except ValueError as error:
        raise UnsupportedLeaf(
            f"NumPy has no {name}; take the bytes of the array with pieces().", dtype=name
        ) from error
