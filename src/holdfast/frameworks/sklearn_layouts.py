"""How arrays of an estimator lie in memory: the last bits of a product depend on it.

Columns in the place of rows, or rows that are cut out of longer ones, take other ways through BLAS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from holdfast.state.overlap import shares_elements

# Of memory that lies between the elements, so many times theirs is made again at most.
_MOST_APART = 4


def strides_of(array: np.ndarray[Any, Any]) -> tuple[int, ...] | None:
    """Return how far apart an array's elements lie, in elements; None where they lie in C order.

    So it is said, too, of an array whose layout is not made again: with elements that share memory,
    that lie backwards, or far apart.
    """
    itemsize = array.itemsize
    if array.flags.c_contiguous or not itemsize or not array.size:
        return None
    if any(step <= 0 or step % itemsize for step in array.strides):
        return None
    strides = tuple(step // itemsize for step in array.strides)
    if shares_elements(array.shape, strides) or _room(array.shape, strides) > (
        _MOST_APART * array.size
    ):
        return None
    return strides


def laid(array: np.ndarray[Any, Any], strides: Sequence[int]) -> np.ndarray[Any, Any]:
    """Return an array with the same elements, so far apart.

    >>> laid(np.arange(6).reshape(2, 3), (1, 2)).flags.f_contiguous
    True
    """
    room = np.empty(_room(array.shape, strides), array.dtype)
    steps = [step * array.itemsize for step in strides]
    found = np.lib.stride_tricks.as_strided(room, array.shape, steps)
    found[...] = array
    return found


def _room(shape: Sequence[int], strides: Sequence[int]) -> int:
    return 1 + sum(step * (n - 1) for step, n in zip(strides, shape, strict=True))
