"""How far layers moved, as a table: between two checkpoints, or over a run. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.history.diff.report import DiffReport
from holdfast.history.layers import LayersOverTime


@dataclass(frozen=True, slots=True)
class HeatTable:
    """Relative movements ‖y − x‖ / ‖x‖; NaN where there is nothing to compare.

    Attributes:
        rows: What the rows are of, in tree order.
        columns: What the columns are of.
        cells: A value for each row and column.
        n_left_out: Rows that moved less than those that are shown.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[float]]
    n_left_out: int

    @property
    def scale(self) -> tuple[float, float] | None:
        """The smallest and the largest movement that is finite and not 0; None where none is."""
        known = [value for row in self.cells for value in row if 0 < value < math.inf]
        return (min(known), max(known)) if known else None


def table_of_diff(report: DiffReport, most_rows: int) -> HeatTable:
    """Return the movement of each tensor: a row for each layer, a column for each name.

    The last component of a path (``weight``, ``exp_avg``) is the column, what is before it the row.
    """
    moved: dict[str, dict[str, float]] = {}
    for tensor in report.tensors:
        if tensor.same_as is None:
            row, column = _split(tensor.path)
            movement = tensor.movement
            moved.setdefault(row, {})[column] = movement.relative if movement is not None else 0.0
    rows = _most_moved(moved, most_rows)
    columns = list(dict.fromkeys(name for row in rows for name in moved[row]))
    return _table(moved, rows, columns)


def table_of_layers(shown: LayersOverTime, most_rows: int) -> HeatTable:
    """Return the movement of each layer since the checkpoint before, a column for each step."""
    moved = {
        layer.prefix: dict(zip(map(str, shown.steps), layer.moved, strict=True))
        for layer in shown.layers
    }
    columns = [str(step) for step in shown.steps[1:]]
    return _table(moved, _most_moved(moved, most_rows), columns)


def _table(
    moved: Mapping[str, Mapping[str, float]], rows: Sequence[str], columns: Sequence[str]
) -> HeatTable:
    cells = [[moved[row].get(column, math.nan) for column in columns] for row in rows]
    return HeatTable(rows, columns, cells, len(moved) - len(rows))


def _split(path: str) -> tuple[str, str]:
    end = max(path.rfind("/"), path.rfind("."))
    return (path[:end], path[end + 1 :]) if end > 0 else (path, "value")


def _most_moved(moved: Mapping[str, Mapping[str, float]], most: int) -> list[str]:
    """Return the rows to show, in tree order: those that moved most where they are too many."""

    def farthest(row: str) -> float:
        return max((v for v in moved[row].values() if not math.isnan(v)), default=-1.0)

    chosen = set(sorted(moved, key=farthest, reverse=True)[:most])
    return [row for row in moved if row in chosen]
