"""Boxes: rectangular regions of an array, and which bytes two of them have in common. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod


@dataclass(frozen=True, slots=True)
class Box:
    """A region in global coordinates; offset and shape of length ndim, in elements."""

    offset: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def volume(self) -> int:
        """Elements in it."""
        return prod(self.shape)


def whole(shape: tuple[int, ...]) -> Box:
    """Return the box that is all of an array.

    >>> whole((2, 3))
    Box(offset=(0, 0), shape=(2, 3))
    """
    return Box((0,) * len(shape), shape)


def intersect(a: Box, b: Box) -> Box | None:
    """Return the region that both boxes, of one ndim, cover; None where it holds no element.

    >>> intersect(Box((0,), (4,)), Box((2,), (4,)))
    Box(offset=(2,), shape=(2,))
    """
    begin = tuple(map(max, a.offset, b.offset))
    ends = (
        min(p + n, q + m) for p, n, q, m in zip(a.offset, a.shape, b.offset, b.shape, strict=True)
    )
    shape = tuple(end - at for end, at in zip(ends, begin, strict=True))
    return Box(begin, shape) if all(n > 0 for n in shape) else None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Elements that lie side by side in the dense C-order memory of two boxes."""

    saved_at: int
    wanted_at: int
    n_elems: int


def stretches(saved: Box, wanted: Box) -> Iterator[Stretch]:
    """Yield what two boxes have in common, in as few stretches as there can be.

    >>> list(stretches(Box((0, 0), (2, 2)), Box((0, 1), (2, 2))))
    [Stretch(saved_at=1, wanted_at=0, n_elems=1), Stretch(saved_at=3, wanted_at=2, n_elems=1)]
    """
    common = intersect(saved, wanted)
    if common is None:
        return
    split = _first_inner_dim(common, saved, wanted)
    n_elems = prod(common.shape[split:])
    saved_strides, wanted_strides = _strides(saved.shape), _strides(wanted.shape)
    saved_begin = _at(common.offset, saved, saved_strides)
    wanted_begin = _at(common.offset, wanted, wanted_strides)
    for index in product(*map(range, common.shape[:split])):
        yield Stretch(
            saved_begin + sum(i * s for i, s in zip(index, saved_strides, strict=False)),
            wanted_begin + sum(i * s for i, s in zip(index, wanted_strides, strict=False)),
            n_elems,
        )


def _first_inner_dim(common: Box, saved: Box, wanted: Box) -> int:
    """Return from which dim on the common region is one stretch in both boxes."""
    dim = len(common.shape)
    while dim > 0:
        dim -= 1
        if not common.shape[dim] == saved.shape[dim] == wanted.shape[dim]:
            break
    # All of the dims behind it are whole in both; of this one any part is side by side.
    return dim


def _strides(shape: Sequence[int]) -> list[int]:
    return [prod(shape[dim + 1 :]) for dim in range(len(shape))]


def _at(point: Sequence[int], box: Box, strides: Sequence[int]) -> int:
    return sum((p - o) * stride for p, o, stride in zip(point, box.offset, strides, strict=True))


def cut(box: Box, most_elems: int) -> list[Box]:
    """Return boxes of at most so many elements that make up a box, if its rows allow it.

    It is cut along its first dim that is longer than 1, so that each piece is one stretch.

    >>> [piece.offset for piece in cut(Box((0, 0), (5, 4)), 8)]
    [(0, 0), (2, 0), (4, 0)]
    """
    dim = next((i for i, n in enumerate(box.shape) if n > 1), None)
    if dim is None or box.volume <= most_elems:
        return [box]
    rows = max(1, most_elems // prod(box.shape[dim + 1 :]))
    length = box.shape[dim]
    return [_slab(box, dim, at, min(rows, length - at)) for at in range(0, length, rows)]


def _slab(box: Box, dim: int, at: int, count: int) -> Box:
    offset, shape = list(box.offset), list(box.shape)
    offset[dim] += at
    shape[dim] = count
    return Box(tuple(offset), tuple(shape))


def first_fault(shape: tuple[int, ...], boxes: Sequence[Box]) -> str:
    """Return why boxes do not cover an array once and only once, or nothing where they do."""
    everything = whole(shape)
    for box in boxes:
        if intersect(box, everything) != box:
            return f"the box at {box.offset} of shape {box.shape} sticks out"
    ordered = sorted(boxes, key=lambda box: box.offset)
    active: list[Box] = []
    for box in ordered:
        active = [b for b in active if not shape or b.offset[0] + b.shape[0] > box.offset[0]]
        if (other := next((b for b in active if intersect(b, box)), None)) is not None:
            return f"the boxes at {other.offset} and {box.offset} overlap"
        active.append(box)
    missing = everything.volume - sum(box.volume for box in boxes)
    return f"{missing} of {everything.volume} elements are in no box" if missing else ""
