"""How far an import is: the bytes of lazy arrays are counted as they are read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from typing import Any

from holdfast.foreign.arrays import ForeignArray, ReadInto
from holdfast.foreign.tree import replaced_arrays
from holdfast.state.paths import Patterns, join, selector

Progress = Callable[[int, int], None]


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
    lock = threading.Lock()
    done, total = 0, sum(array_sizes(tree, only, skip).values())

    def told(nbytes: int) -> None:
        nonlocal done
        with lock:
            done += nbytes
            progress(min(done, total), total)

    def telling(array: ForeignArray) -> ForeignArray:
        return replace(array, read=_telling(array.read, told), identity=_who(array))

    made: dict[str, Any] = replaced_arrays(tree, telling)  # type: ignore[assignment]
    return made


def array_sizes(
    tree: dict[str, Any], only: Patterns = None, skip: Patterns = None
) -> dict[Hashable, int]:
    """Return the bytes of each array that is chosen, of those that are one and the same once."""
    chosen = selector(only, skip) or (lambda path: True)
    return {_who(array): array.nbytes for path, array in _arrays(tree, "") if chosen(path)}


def _who(array: ForeignArray) -> Hashable:
    return array if array.identity is None else array.identity


def _arrays(value: object, path: str) -> Iterator[tuple[str, ForeignArray]]:
    if isinstance(value, ForeignArray):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _arrays(inner, join(path, key))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _arrays(inner, join(path, i))


def _telling(read: ReadInto, told: Callable[[int], None]) -> ReadInto:
    def reading(offset: int, into: memoryview) -> None:
        read(offset, into)
        told(into.nbytes)

    return reading
