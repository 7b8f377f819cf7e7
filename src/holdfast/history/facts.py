"""Facts about checkpoints side by side, nested names joined by dots. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One fact about several, side by side; None where one of them does not have it."""

    name: str
    values: tuple[object, ...]

    @property
    def is_same(self) -> bool:
        """Whether it is the same in all."""
        return are_same(self.values)


def are_same(values: Sequence[object]) -> bool:
    """Say whether values are all the same; NaN is the same as NaN."""
    first = values[0]
    return all(value == first or repr(value) == repr(first) for value in values)


def rows_of(all_facts: Sequence[Mapping[str, object]]) -> tuple[Row, ...]:
    """Return what several mappings say, in order of appearance.

    >>> [(row.name, row.values) for row in rows_of([{"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}])]
    [('a.b', (1, 1)), ('a.c', (None, 2))]
    """
    columns = [dict(flat(facts)) for facts in all_facts]
    names = dict.fromkeys(name for column in columns for name in column)
    return tuple(Row(name, tuple(column.get(name) for column in columns)) for name in names)


def flat(facts: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    """Return nested facts with their names joined by dots.

    >>> flat({"a": {"b": 1, "c": [2, 3]}, "d": None})
    [('a.b', 1), ('a.c', [2, 3]), ('d', None)]
    """
    found: list[tuple[str, object]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found
