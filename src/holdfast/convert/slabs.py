"""Ranges of an array's bytes as slabs: for arrays that can only be read by their indices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from holdfast.foreign.arrays import ReadInto
from holdfast.foreign.layout import rectangles

Slab = tuple[slice, ...]
Fetch = Callable[[Slab], "np.ndarray[Any, Any]"]


def slabs(shape: Sequence[int], begin: int, end: int) -> Iterator[Slab]:
    """Yield the slabs that cover a range of elements in C order, one behind the other.

    Args:
        shape: Of the array, in elements.
        begin: First element of the range.
        end: Behind the last; not beyond the array.

    >>> [[(s.start, s.stop) for s in slab] for slab in slabs((3, 4), 2, 9)]
    [[(0, 1), (2, 4)], [(1, 2), (0, 4)], [(2, 3), (0, 1)]]
    """
    if begin < end:
        for first, box in rectangles(tuple(shape), begin, end):
            yield tuple(slice(at, at + n) for at, n in zip(first, box, strict=True))


def slab_reader(shape: Sequence[int], itemsize: int, fetch: Fetch) -> ReadInto:
    """Return what fills memory with the bytes of an array from an offset on, by its slabs.

    The offset is in bytes; it may lie within an element.

    Args:
        shape: Of the array, in elements.
        itemsize: Bytes of an element.
        fetch: Returns a slab of it; its elements have ``itemsize`` bytes.
    """

    def read(begin: int, into: memoryview) -> None:
        first, last = begin // itemsize, -(-(begin + into.nbytes) // itemsize)
        skipped, done = begin - first * itemsize, 0
        for slab in slabs(shape, first, last):
            data = _bytes_of(fetch(slab))[skipped:][: into.nbytes - done]
            into[done : done + data.nbytes] = data
            done, skipped = done + data.nbytes, 0

    return read


def _bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
