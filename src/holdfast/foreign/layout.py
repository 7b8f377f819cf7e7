"""How arrays lie in foreign files: boxes of elements with strides, and any range of them read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from holdfast.foreign.sources import Source

# A stretch is read at once where it is no longer, and has not more between its elements that is
# not wanted: about what is copied in the time of one more call.
_MOST_READ_BYTES = 4 << 20
_MOST_WASTE_BYTES = 256 << 10

_Shape = tuple[int, ...]
_Raw = np.ndarray[Any, np.dtype[Any]]


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
    shape: _Shape
    strides: _Shape
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
        return _span(self.shape, self.strides)


@dataclass(frozen=True, slots=True)
class Box:
    """A part of an array: where its first element is in the array, and its elements."""

    at: _Shape
    view: View


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes that make up an array; called, it gives a range of its bytes in bounded memory.

    Attributes:
        shape: Of the array.
        boxes: The boxes.
        itemsize: Bytes of an element.
        word: Bytes that are in the other order in an element of a view with ``big_endian``.
    """

    shape: _Shape
    boxes: tuple[Box, ...]
    itemsize: int
    word: int

    @property
    def is_as_wanted(self) -> bool:
        """Whether all bytes lie in one stretch as they are wanted."""
        view = self.boxes[0].view
        return len(self.boxes) == 1 and view.is_dense and not view.big_endian

    def __call__(self, offset: int, into: memoryview) -> None:
        """Fill memory with the elements' bytes, dense in C order and little-endian.

        Args:
            offset: Where to begin, in bytes.
            into: Where they go.

        Raises:
            ForeignDamaged: The file is shorter than it was.
        """
        if not into.nbytes:
            return
        if self.is_as_wanted:
            view = self.boxes[0].view
            view.source.read(into, view.offset + offset)
            return
        first, end = offset // self.itemsize, -(-(offset + into.nbytes) // self.itemsize)
        raw = np.frombuffer(into, np.uint8)
        if offset % self.itemsize or into.nbytes % self.itemsize:
            raw = np.empty((end - first) * self.itemsize, np.uint8)
        elements, at = raw.view(f"V{self.itemsize}"), 0
        for begin, shape in rectangles(self.shape, first, end):
            count = prod(shape)
            self._fill(elements[at : at + count].reshape(shape), begin)
            at += count
        if raw.nbytes != into.nbytes:
            skipped = offset - first * self.itemsize
            into[:] = raw.data[skipped : skipped + into.nbytes]

    def _fill(self, out: _Raw, begin: _Shape) -> None:
        """Fill a rectangle of the array that begins at some index."""
        for box in self.boxes:
            places = [
                (max(b, at), min(b + n, at + m))
                for b, n, at, m in zip(begin, out.shape, box.at, box.view.shape, strict=True)
            ]
            if any(low >= high for low, high in places):
                continue
            here = tuple(slice(lo - b, hi - b) for (lo, hi), b in zip(places, begin, strict=True))
            there = tuple(low - at for (low, _), at in zip(places, box.at, strict=True))
            first = sum(i * stride for i, stride in zip(there, box.view.strides, strict=True))
            self._copy(box.view, first, out[here] if here else out)

    def _copy(self, view: View, first: int, out: _Raw) -> None:
        """Copy the elements of a view from some element on to where they go."""
        span = _span(out.shape, view.strides)
        waste = (span - out.size) * self.itemsize
        is_long = span * self.itemsize > _MOST_READ_BYTES or waste > _MOST_WASTE_BYTES
        # A single element may be long by itself.
        if is_long and span > 1:
            reach = [(n - 1) * s for n, s in zip(out.shape, view.strides, strict=True)]
            dim = reach.index(max(reach))
            half = out.shape[dim] // 2
            lower = tuple(slice(None) for _ in range(dim))
            self._copy(view, first, out[(*lower, slice(0, half))])
            beyond = first + half * view.strides[dim]
            self._copy(view, beyond, out[(*lower, slice(half, None))])
            return
        data = np.empty(span * self.itemsize, np.uint8)
        view.source.read(data.data, view.offset + first * self.itemsize)
        if view.big_endian:
            # Of a single word the reversed bytes would be a view of them.
            data = np.ascontiguousarray(data.reshape(-1, self.word)[:, ::-1]).reshape(-1)
        strides = tuple(stride * self.itemsize for stride in view.strides)
        found = data.view(f"V{self.itemsize}")
        out[...] = np.lib.stride_tricks.as_strided(found, out.shape, strides)


def rectangles(shape: _Shape, first: int, end: int) -> Iterator[tuple[_Shape, _Shape]]:
    """Yield begins and shapes of the boxes that a range of elements in C order is made of.

    >>> list(rectangles((3, 4), 2, 9))
    [((0, 2), (1, 2)), ((1, 0), (1, 4)), ((2, 0), (1, 1))]
    """
    if len(shape) < 2:
        yield ((first,), (end - first,)) if shape else ((), ())
        return
    inner, more = prod(shape[1:]), shape[1:]
    while first < end:
        row, within = divmod(first, inner)
        rows = (end - first) // inner if not within else 0
        if rows:
            yield (row, *(0 for _ in more)), (rows, *more)
            first += rows * inner
            continue
        last = min(end, (row + 1) * inner)
        for begin, part in rectangles(more, within, last - row * inner):
            yield (row, *begin), (1, *part)
        first = last


def dense_strides(shape: Sequence[int], *, fortran: bool = False) -> _Shape:
    """Return the strides of a dense array, in elements.

    >>> dense_strides((2, 3)), dense_strides((2, 3), fortran=True)
    ((3, 1), (1, 2))
    """
    strides, step = [], 1
    for n in shape if fortran else reversed(shape):
        strides.append(step)
        step *= n
    return tuple(strides if fortran else reversed(strides))


def _span(shape: _Shape, strides: _Shape) -> int:
    if 0 in shape:
        return 0
    return 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
