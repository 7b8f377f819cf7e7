"""Movements as shades: the lightest that moved is 1, the farthest 9, by the logarithm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.history.diff.report import DiffReport
from holdfast.history.heat_table import HeatTable, table_of_diff, table_of_layers
from holdfast.history.layers import LayersOverTime

SHADES = 9
MOST_ROWS, MOST_COLUMNS = 120, 16


@dataclass(frozen=True, slots=True)
class Cell:
    """How far something moved; ``shade`` is 0 where not at all, 1 to 9 by the logarithm."""

    value: float
    shade: int


@dataclass(frozen=True, slots=True)
class Heat:
    """A table of cells; None where there is nothing. What is left out moved least, or is rare."""

    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[Cell | None]]
    low: float
    high: float
    n_rows_left_out: int
    n_columns_left_out: int


def heat_of_diff(
    report: DiffReport, most_rows: int = MOST_ROWS, most_columns: int = MOST_COLUMNS
) -> Heat | None:
    """Return a row for each layer and a column for each name in it; None where nothing moved."""
    return _heat(table_of_diff(report, most_rows), most_columns)


def heat_of_layers(shown: LayersOverTime) -> Heat | None:
    """Return a row for each layer and a column for each step; None where nothing moved."""
    return _heat(table_of_layers(shown, MOST_ROWS), len(shown.steps))


def _heat(table: HeatTable, most_columns: int) -> Heat | None:
    if table.scale is None:
        return None
    low, high = table.scale
    chosen = _most_filled(table, most_columns)
    return Heat(
        table.rows,
        [table.columns[i] for i in chosen],
        [[_cell(row[i], low, high) for i in chosen] for row in table.cells],
        low,
        high,
        table.n_left_out,
        len(table.columns) - len(chosen),
    )


def _most_filled(table: HeatTable, most: int) -> list[int]:
    """Return the columns to show, in order: those that most rows have, where they are too many."""
    filled = [sum(not math.isnan(row[i]) for row in table.cells) for i in range(len(table.columns))]
    return sorted(sorted(range(len(filled)), key=lambda i: -filled[i])[:most])


def _cell(value: float, low: float, high: float) -> Cell | None:
    if math.isnan(value):
        return None
    if value == 0:
        return Cell(value, 0)
    if value == math.inf or high <= low:
        return Cell(value, SHADES)
    share = math.log(value / low) / math.log(high / low)
    return Cell(value, 1 + min(SHADES - 1, int(share * SHADES)))
