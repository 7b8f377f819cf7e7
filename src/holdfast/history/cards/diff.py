"""A comparison as HTML: groups, how far layers moved, and what else changed."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.history.diff.report import DiffReport, Fact, LeafChange
from holdfast.history.heat import Cell as HeatCell
from holdfast.history.heat import Heat, heat_of_diff
from holdfast.history.telling import fact_text, kind_text, movement_texts, value_text
from holdfast.markup.card import MOST, badge, card, listed, shaded, short, shortened, soft
from holdfast.markup.pieces import Cell, Made, table
from holdfast.wording.numbers import bytes_text, metric_text, plural

_DEPTH = 2
_HEAT_ROWS, _HEAT_COLUMNS = 24, 8


def diff_card(report: DiffReport) -> str:
    """Return what a comparison found."""
    return card(
        f"{report.before.ref} → {report.after.ref}",
        f"<p>{_summary(report)}</p>",
        soft(_generators(report)) if report.generators else "",
        _facts("metrics", report.metrics),
        _groups(report),
        _heat(heat_of_diff(report, _HEAT_ROWS, _HEAT_COLUMNS)),
        listed("Added:", [f"{leaf.path}  {kind_text(leaf)}" for leaf in report.added], "leaf"),
        listed("Removed:", [f"{leaf.path}  {kind_text(leaf)}" for leaf in report.removed], "leaf"),
        _changes("reshaped", report.reshaped),
        _changes("recast", report.recast),
        _changes("values", report.values),
        _facts("configuration", [fact for fact in report.configuration if not fact.is_same]),
        _facts("environment", [fact for fact in report.environment if not fact.is_same]),
        badges=[badge("equal, bit for bit", "good")] if report.is_same_state else [],
    )


def _summary(report: DiffReport) -> str:
    changed = sum(tensor.is_changed for tensor in report.tensors)
    read = f"{bytes_text(report.read_bytes)} of {bytes_text(report.total_bytes)} read"
    return f"{changed:,} of {plural(len(report.tensors), 'tensor')} changed; {read}."


def _generators(report: DiffReport) -> str:
    return f"Random number generators stand elsewhere: {', '.join(report.generators)}."


def _groups(report: DiffReport) -> str:
    groups = [group for group in report.groups(_DEPTH) if group.n_changed]
    titles = ["group", "changed", "moved", "cosine", "largest", "elements", "not finite"]
    rows = [
        [g.prefix, f"{g.n_changed:,} of {g.n_tensors:,}", *movement_texts(g.movement)]
        for g in groups[:MOST]
    ]
    return shortened(titles, rows, "group", n_all=len(groups))


def _heat(heat: Heat | None) -> str:
    if heat is None:
        return ""
    rows: list[list[Cell]] = [
        [row, *map(_heat_cell, cells)] for row, cells in zip(heat.rows, heat.cells, strict=True)
    ]
    left = heat.n_rows_left_out
    return (
        soft("How far each layer moved, ‖y − x‖ / ‖x‖, shaded by its logarithm")
        + table(["layer", *heat.columns], rows)
        + (soft(f"… and {plural(left, 'layer')} more that moved less") if left else "")
    )


def _heat_cell(cell: HeatCell | None) -> Made:
    return shaded("", 0) if cell is None else shaded(metric_text(cell.value), cell.shade)


def _changes(title: str, changes: Sequence[LeafChange]) -> str:
    say = value_text if title == "values" else kind_text
    rows = [[c.path, short(say(c.before)), short(say(c.after))] for c in changes[:MOST]]
    titles = [title, "before", "after"]
    return shortened(titles, rows, "leaf", n_all=len(changes), text_columns=3)


def _facts(title: str, facts: Sequence[Fact]) -> str:
    rows = [
        [fact.name, short(fact_text(fact.before)), short(fact_text(fact.after))]
        for fact in facts[:MOST]
    ]
    titles = [title, "before", "after"]
    return shortened(titles, rows, "value", n_all=len(facts), text_columns=3)
