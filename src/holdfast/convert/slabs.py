"""Ranges of an array's bytes as slabs: for arrays that can only be read by their indices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

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
    if begin >= end:
        return
    if not shape:
        yield ()
        return
    inner = prod(shape[1:])
    row, skipped = divmod(begin, inner)
    if skipped:
        # The rest of a row that the range begins in.
        stop = min(end, (row + 1) * inner)
        for rest in slabs(shape[1:], skipped, stop - row * inner):
            yield (slice(row, row + 1), *rest)
        yield from slabs(shape, stop, end)
        return
    rows = (end - begin) // inner
    if rows:
        yield (slice(row, row + rows), *(slice(0, n) for n in shape[1:]))
        row += rows
    for rest in slabs(shape[1:], 0, end - row * inner):
        yield (slice(row, row + 1), *rest)


def read_by_slabs(
    shape: Sequence[int], itemsize: int, fetch: Fetch, begin: int, into: memoryview
) -> None:
    """Fill memory with the bytes of an array from an offset on.

    Args:
        shape: Of the array, in elements.
        itemsize: Bytes of an element.
        fetch: Returns a slab of it; its elements have ``itemsize`` bytes.
        begin: Offset in bytes; it may lie within an element.
        into: Memory for the bytes.
    """
    first, last = begin // itemsize, -(-(begin + into.nbytes) // itemsize)
    skipped, done = begin - first * itemsize, 0
    for slab in slabs(shape, first, last):
        part = np.ascontiguousarray(fetch(slab))
        data = memoryview(part.reshape(-1).view(np.uint8))[skipped:]  # type: ignore[arg-type]
        data = data[: into.nbytes - done]
        into[done : done + data.nbytes] = data
        done, skipped = done + data.nbytes, 0
