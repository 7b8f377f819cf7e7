"""Whether boxes make up an array, each element once."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from holdfast.foreign.layout import Box

# They are compared with one another.
_MOST_BOXES = 4096


def require_cover(shape: tuple[int, ...], boxes: Sequence[Box]) -> None:
    """Raise ValueError unless boxes make up an array of a shape, each element once."""
    if len(boxes) > _MOST_BOXES:
        raise ValueError(f"a tensor in more than {_MOST_BOXES} pieces")
    for i, box in enumerate(boxes):
        if not _is_inside(box, shape) or any(_overlap(box, other) for other in boxes[:i]):
            raise ValueError("the pieces of a tensor overlap, or lie outside of it")
    if not boxes or sum(prod(box.view.shape) for box in boxes) != prod(shape):
        raise ValueError("pieces of a tensor are missing")


def _is_inside(box: Box, shape: tuple[int, ...]) -> bool:
    return len(box.at) == len(shape) and all(
        at >= 0 and at + n <= whole
        for at, n, whole in zip(box.at, box.view.shape, shape, strict=True)
    )


def _overlap(a: Box, b: Box) -> bool:
    return all(
        x < y + m and y < x + n
        for x, n, y, m in zip(a.at, a.view.shape, b.at, b.view.shape, strict=True)
    )
