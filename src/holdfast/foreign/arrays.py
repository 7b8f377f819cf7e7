"""Arrays of a foreign file as handles: what they are and where, until somebody asks for bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from holdfast.errors import MissingDependency, UnsupportedLeaf
from holdfast.foreign.sources import Source
from holdfast.format import dtypes

PIECE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class View:
    """A box of elements in some storage.

    Attributes:
        source: The storage's bytes.
        offset: Where the first element is, in bytes.
        shape: Elements along each dimension.
        strides: From one element to the next along each dimension, in elements.
        storage: Views with the same number look at the same storage.
        big_endian: Whether elements have their most significant byte first.
    """

    source: Source
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    storage: int
    big_endian: bool = False

    @property
    def is_dense(self) -> bool:
        """Whether the elements lie one behind the other in C order."""
        expected = 1
        for n, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if n != 1 and stride != expected:
                return False
            expected *= n
        return True

    def span_elems(self) -> int:
        """Return how far it is from the first element behind the last one, in elements."""
        if 0 in self.shape:
            return 0
        steps = zip(self.shape, self.strides, strict=True)
        return 1 + sum((n - 1) * stride for n, stride in steps)


@dataclass(frozen=True, slots=True)
class Box:
    """A part of an array: where its first element is in the array, and its elements."""

    at: tuple[int, ...]
    view: View


@dataclass(frozen=True, slots=True, eq=False)
class ForeignArray:
    """An array or tensor of a foreign file. ``dtype`` is a name of ``holdfast.format.dtypes``.

    It has one box, or several that make it up where it was saved in shards. ``framework`` is whose
    array it was: ``numpy`` or ``torch``.
    """

    dtype: str
    shape: tuple[int, ...]
    boxes: tuple[Box, ...]
    framework: str = "numpy"

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return prod(self.shape) * dtypes.itemsize(self.dtype)

    @property
    def storages(self) -> frozenset[int]:
        """Numbers of the storages that it looks at; tied tensors have the same."""
        return frozenset(box.view.storage for box in self.boxes)

    def read(self, offset: int, into: memoryview) -> None:
        """Fill memory with the elements' bytes from an offset on, dense in C order, little-endian.

        An array that lies in the file otherwise is brought together in memory for each call.

        Raises:
            ForeignDamaged: The file is shorter than it was.
        """
        view = self.boxes[0].view
        if self._is_as_wanted:
            view.source.read(into, view.offset + offset)
        else:
            whole = self._gathered().reshape(-1).view(np.uint8).data
            into[:] = whole[offset : offset + into.nbytes]

    @property
    def _is_as_wanted(self) -> bool:
        view = self.boxes[0].view
        return len(self.boxes) == 1 and view.is_dense and not view.big_endian

    def pieces(self, piece_bytes: int = PIECE_BYTES) -> Iterator[memoryview]:
        """Yield the elements' bytes, dense in C order and little-endian, piece by piece.

        An array that lies in the file as it is wanted takes the memory of a piece; any other is
        brought together in memory first.
        """
        if not self._is_as_wanted:
            whole = self._gathered().reshape(-1).view(np.uint8).data
            for begin in range(0, whole.nbytes, piece_bytes):
                yield whole[begin : begin + piece_bytes]
            return
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
        raw = self._gathered()
        return raw.reshape(-1).view(dtype).reshape(self.shape) if raw.size else _empty(self, dtype)

    def _gathered(self) -> np.ndarray[Any, np.dtype[Any]]:
        """Return the elements, whatever they are, as raw bytes in an array of the right shape."""
        itemsize = dtypes.itemsize(self.dtype)
        if len(self.boxes) == 1:
            return _read(self.boxes[0].view, itemsize, self.dtype)
        whole = np.zeros(self.shape, f"V{itemsize}")
        for box in self.boxes:
            places = tuple(slice(at, at + n) for at, n in zip(box.at, box.view.shape, strict=True))
            whole[places] = _read(box.view, itemsize, self.dtype)
        return whole


def _read(view: View, itemsize: int, dtype: str) -> np.ndarray[Any, np.dtype[Any]]:
    data = np.zeros(view.span_elems() * itemsize, np.uint8)
    view.source.read(data.data, view.offset)
    if view.big_endian:
        data = _swapped(data, itemsize // 2 if dtype.startswith("complex") else itemsize)
    if not data.size:
        return np.zeros(view.shape, f"V{itemsize}")
    strides = tuple(stride * itemsize for stride in view.strides)
    found = np.lib.stride_tricks.as_strided(data.view(f"V{itemsize}"), view.shape, strides)
    return np.ascontiguousarray(found).reshape(view.shape)


def _swapped(data: np.ndarray[Any, np.dtype[Any]], width: int) -> np.ndarray[Any, np.dtype[Any]]:
    return data.reshape(-1, width)[:, ::-1].reshape(-1)


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


def _empty(array: ForeignArray, dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    return np.zeros(array.shape, dtype)


def dense_strides(shape: Sequence[int], *, fortran: bool = False) -> tuple[int, ...]:
    """Return the strides of a dense array, in elements.

    >>> dense_strides((2, 3)), dense_strides((2, 3), fortran=True)
    ((3, 1), (1, 2))
    """
    strides, step = [], 1
    for n in shape if fortran else reversed(shape):
        strides.append(step)
        step *= n
    return tuple(strides if fortran else reversed(strides))
