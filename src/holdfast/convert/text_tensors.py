"""Tensors of texts, which become lists in lists: with a bound, since a shape can say anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any

# Far more than anybody has who has no texts in them.
_MAX_EMPTY_LISTS = 1_000_000


def has_room(shape: Sequence[int]) -> bool:
    """Say whether lists of a shape have a place in memory, given that their texts do.

    Without any texts, ``(1 << 40, 0)``, there may still be more lists than memory.
    """
    return 0 not in shape or prod(shape[: list(shape).index(0)]) <= _MAX_EMPTY_LISTS


def as_lists(texts: Iterable[Any], shape: Sequence[int]) -> Any:
    """Return texts in C order as lists in lists; alone where there is no dimension.

    >>> as_lists("abcdef", (3, 2)), as_lists("a", ())
    ([['a', 'b'], ['c', 'd'], ['e', 'f']], 'a')
    """
    return _lists(iter(texts), tuple(shape))


def _lists(texts: Iterator[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return next(texts)
    return [_lists(texts, shape[1:]) for _ in range(shape[0])]
