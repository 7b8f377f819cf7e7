"""Whether boxes cover arrays once and only once: of millions of boxes, without comparing any two.

Let H be a random function of a number, another one for each dim. What H gains over a box along a
dim, multiplied over the dims, is a sum over the box's elements; so boxes that cover an array once
have, added up, what the whole array has. Where some element is covered twice, or never, sums that
are equal all the same would be an accident of one in 2**60 or so: they are reckoned modulo 2**64.
That holds in whatever order boxes come, so that they are added as they come and not kept.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

_Ints = NDArray[np.int64]
_Hashes = NDArray[np.uint64]


@final
class Coverage:
    """Adds boxes up.

    Args:
        shapes: Those of the arrays.
        seed: What makes the functions; random where nobody says.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], seed: int | None = None) -> None:
        self._seed = np.uint64(secrets.randbits(64) if seed is None else seed)
        self._ndims = np.array([len(shape) for shape in shapes], np.int64)
        self._begins = _begins(self._ndims)
        self._dims = np.array([n for shape in shapes for n in shape], np.int64)
        self._sums = np.zeros(len(shapes), np.uint64)

    def add(self, array: Any, at: Any, dims: Any) -> str:
        """Add boxes up.

        Args:
            array: For each, the number of its array.
            at: Where they begin, as many numbers for each as it has dims.
            dims: Their shapes, likewise.

        Returns:
            What is wrong with them, or nothing.
        """
        numbers, begins = np.asarray(array, np.int64), np.asarray(at, np.int64)
        lengths = np.asarray(dims, np.int64)
        if not len(numbers):
            return "offsets of no boxes" if len(begins) else ""
        if numbers.min() < 0 or numbers.max() >= len(self._ndims):
            return "a box of an array that is not there"
        ndims = self._ndims[numbers]
        if not len(begins) == len(lengths) == ndims.sum():
            return "a box of another number of dims than its array"
        bounds, dim = self._bounds_of(numbers, ndims)
        if (begins < 0).any() or (lengths <= 0).any() or (lengths > bounds - begins).any():
            return f"a box of array {self._first_out(numbers, ndims, begins, lengths)} sticks out"
        gained = self._hash(begins + lengths, dim) - self._hash(begins, dim)
        np.add.at(self._sums, numbers, _products(gained, ndims))
        return ""

    def faults(self) -> list[int]:
        """Return the numbers of those arrays that are not covered once and only once."""
        dim = np.arange(len(self._dims)) - np.repeat(self._begins, self._ndims)
        gained = self._hash(self._dims, dim) - self._hash(np.zeros_like(self._dims), dim)
        return [int(i) for i in np.flatnonzero(_products(gained, self._ndims) != self._sums)]

    def _bounds_of(self, numbers: _Ints, ndims: _Ints) -> tuple[_Ints, _Ints]:
        """Return, for each dim of each box, how long its array is there, and which dim it is."""
        dim = np.arange(int(ndims.sum())) - np.repeat(_begins(ndims), ndims)
        return self._dims[np.repeat(self._begins[numbers], ndims) + dim], dim

    def _first_out(self, numbers: _Ints, ndims: _Ints, begins: _Ints, lengths: _Ints) -> int:
        bounds, _ = self._bounds_of(numbers, ndims)
        bad = (begins < 0) | (lengths <= 0) | (lengths > bounds - begins)
        return int(np.repeat(numbers, ndims)[int(np.argmax(bad))])

    def _hash(self, values: _Ints, dim: _Ints) -> _Hashes:
        """Return a random number for each value of each dim (splitmix64 of both and the seed)."""
        with np.errstate(over="ignore"):
            z = values.astype(np.uint64) + self._seed
            z += (dim.astype(np.uint64) + np.uint64(1)) * np.uint64(0xD1342543DE82EF95)
            z *= np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)


def _begins(lengths: _Ints) -> _Ints:
    return np.concatenate([[0], np.cumsum(lengths)])[: len(lengths)].astype(np.int64)


def _products(factors: _Hashes, counts: _Ints) -> _Hashes:
    """Return the products of stretches of factors; that of none is 1."""
    found = np.ones(len(counts), np.uint64)
    filled = counts > 0
    if filled.any():
        found[filled] = np.multiply.reduceat(factors, _begins(counts)[filled])
    return found
