"""How far tensors moved, as heat maps: between two checkpoints, and over a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.history.diff.report import DiffReport
from holdfast.history.heat_table import HeatTable, table_of_diff, table_of_layers
from holdfast.history.layers import LayersOverTime
from holdfast.pictures.files import COLOURS, literal, picture

# More rows could not be read; those that moved most are shown.
_MOST_ROWS = 80
_MOST_WORDS = 240
_ROW_IN = 0.24
_NORMS_IN = 3.5
_STYLES = ("-", "--", ":")
_FINE_ROW = 12


def draw_diff(report: DiffReport, path: str) -> None:
    """Draw the relative movement of each tensor: a row for each layer, a column for each name."""
    table = table_of_diff(report, _MOST_ROWS)
    title = f"{report.before.ref} to {report.after.ref}: relative movement"
    with picture(path, *_size(table)) as figure:
        axes = figure.subplots()
        figure.suptitle(literal(title) + _left_out_text(table.n_left_out), fontsize="medium")
        _draw_heat(figure, axes, table, turn=False)


def draw_layers(shown: LayersOverTime, path: str) -> None:
    """Draw the movement of each layer from checkpoint to checkpoint, and its norm beside it."""
    table = table_of_layers(shown, _MOST_ROWS)
    title = f"{shown.run}: relative movement since the checkpoint before"
    norms = {layer.prefix: layer.norms for layer in shown.layers}
    width, height = _size(table)
    with picture(path, max(8.0, width), height + _NORMS_IN) as figure:
        heat, lines = figure.subplots(2, 1, height_ratios=(height, _NORMS_IN))
        figure.suptitle(literal(title) + _left_out_text(table.n_left_out), fontsize="medium")
        _draw_heat(figure, heat, table, turn=True)
        _draw_norms(lines, {row: norms[row] for row in table.rows}, shown.steps)


def _draw_norms(axes: Any, norms: Mapping[str, Sequence[float]], steps: Sequence[int]) -> None:
    """Draw each norm as its multiple of the first, so that all of them show how they changed."""
    for i, (row, values) in enumerate(norms.items()):
        style = _STYLES[i // len(COLOURS) % len(_STYLES)]
        # A layer may come later than the first checkpoint.
        first = next((v for v in values if 0 < v < math.inf), math.nan)
        grown = [value / first for value in values]
        # Of more lines than this a legend cannot tell one from another.
        label = literal(row) if i < len(COLOURS) * len(_STYLES) else None
        axes.plot(steps, grown, style, color=COLOURS[i % len(COLOURS)], marker=".", label=label)
    axes.set_ylabel("norm / first norm")
    axes.set_xlabel("step")
    axes.grid(alpha=0.25)
    if norms:
        axes.legend(fontsize="x-small", frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _draw_heat(figure: Any, axes: Any, table: HeatTable, *, turn: bool) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    rows, columns, cells = table.rows, table.columns, table.cells
    if not rows or not columns:
        axes.text(0.5, 0.5, "no tensors to compare", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    low, high = table.scale or (1e-3, 1.0)
    colours = colormaps["viridis"].with_extremes(bad="0.92", under="white", over="red")
    top = high if high > low else low * 10
    norm = LogNorm(low, top)
    # What did not move is white, what moved from nothing red, and no tensor at all is grey.
    ends = {0.0: low / 1e3, math.inf: top * 1e3}
    shown = [[ends.get(value, value) for value in row] for row in cells]
    image = axes.pcolormesh(shown, cmap=colours, norm=norm, edgecolors="white", linewidth=0.5)
    axes.invert_yaxis()
    _label(axes, rows, columns, turn)
    if len(rows) * len(columns) <= _MOST_WORDS and len(columns) <= _FINE_ROW:
        _write_cells(axes, cells, norm)
    figure.colorbar(image, ax=axes, label="‖y − x‖ / ‖x‖", shrink=min(1.0, 8 / max(8, len(rows))))


def _label(axes: Any, rows: Sequence[str], columns: Sequence[str], turn: bool) -> None:
    names = [literal(row) for row in rows]
    axes.set_yticks([i + 0.5 for i in range(len(rows))], names, fontsize="x-small")
    every = max(1, len(columns) // 20)
    places = list(range(0, len(columns), every))
    axes.set_xticks(
        [i + 0.5 for i in places],
        [literal(columns[i]) for i in places],
        fontsize="x-small",
        rotation=45 if turn or len(columns) > 4 else 0,
    )


def _write_cells(axes: Any, cells: Sequence[Sequence[float]], norm: Any) -> None:
    for y, row in enumerate(cells):
        for x, value in enumerate(row):
            if math.isnan(value):
                continue
            dark = 0 < value < math.inf and norm(value) < 0.6
            text = "0" if value == 0 else f"{value:.2g}"
            colour = "white" if dark or value == math.inf else "black"
            axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=6, color=colour)


def _left_out_text(count: int) -> str:
    return f"\n({count} rows that moved less are left out)" if count else ""


def _size(table: HeatTable) -> tuple[float, float]:
    rows, columns = table.rows, table.columns
    labels_in = 0.075 * max(map(len, rows), default=0)
    width = min(24.0, max(6.5, labels_in + 0.62 * min(len(columns), 20) + 2.2))
    return width, max(2.5, _ROW_IN * len(rows) + 1.6)
