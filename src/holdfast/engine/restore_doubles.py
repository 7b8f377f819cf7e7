"""Leaves that share memory where they stand, and were saved one by one: they must be equal.

Other tools' files have tied weights twice. Where both say the same, both can be had.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.state.bind import Binder
from holdfast.state.reads import Read


def compare_doubles(binder: Binder, read: Callable[[Sequence[Read]], object]) -> None:
    """Note a problem for each leaf that would fill the memory of another with other values.

    Args:
        binder: What is bound.
        read: Reads arrays; raises where one is damaged. Nothing that stands changes.
    """
    for owner, row, path in binder.doubles:
        pair = [_aside(binder, number, path) for number in (owner, row)]
        read(pair)
        if pair[0].into != pair[1].into:
            binder.problem(
                path,
                "shares its memory with another leaf here, but was saved as different "
                "values; untie them, or restore one of them with skip=",
            )


def _aside(binder: Binder, row: int, path: str) -> Read:
    return Read(row, memoryview(bytearray(binder.rows[row].nbytes)), False, path)
