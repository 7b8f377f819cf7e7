"""How far an import is: the bytes of lazy arrays are counted as they are read."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

from holdfast.convert.tally import Progress, tally
from holdfast.foreign.arrays import ForeignArray, ReadInto
from holdfast.foreign.tree import arrays_in, replaced_arrays
from holdfast.state.paths import Patterns, join, selector


def counted(
    tree: dict[str, Any], progress: Progress, only: Patterns = None, skip: Patterns = None
) -> dict[str, Any]:
    """Return a tree whose arrays tell of every read: the bytes so far, and those of all chosen.

    Args:
        tree: The state.
        progress: Called with both; from several threads.
        only: Glob patterns on leaf paths; only arrays that match are chosen.
        skip: Glob patterns on leaf paths; arrays that match are not chosen.
    """
    told = tally(sum(array_sizes(tree, only, skip).values()), progress)

    def telling(array: ForeignArray) -> ForeignArray:
        return replace(array, read=_telling(array.read, told), identity=_who(array))

    made: dict[str, Any] = replaced_arrays(tree, telling)  # type: ignore[assignment]
    return made


def array_sizes(
    tree: dict[str, Any], only: Patterns = None, skip: Patterns = None
) -> dict[Hashable, int]:
    """Return the bytes of each array that is chosen, of those that are one and the same once."""
    chosen = selector(only, skip) or (lambda path: True)
    return {_who(array): array.nbytes for path, array in arrays_in(tree, join) if chosen(path)}


def _who(array: ForeignArray) -> Hashable:
    return array if array.identity is None else array.identity


def _telling(read: ReadInto, told: Callable[[int], None]) -> ReadInto:
    def reading(offset: int, into: memoryview) -> None:
        read(offset, into)
        told(into.nbytes)

    return reading
