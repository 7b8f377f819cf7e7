"""Plots as SVG, with no library and no script: each function returns one ``<svg>`` element.

Colours come from classes ``c0`` to ``c7``, ``axis`` and ``text`` that the page defines, so that it
can have a dark side. All text is escaped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760
_BAR, _GAP, _LABEL, _VALUE = 18, 10, 200, 110
_PLOT_HEIGHT, _MARGIN = 160, 34


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar made of parts, one behind the other; what is said of it stands at its end."""

    label: str
    parts: tuple[float, ...]
    value: str


@dataclass(frozen=True, slots=True)
class Range:
    """A span with a mark: from a low value to a high one, the middle half, and the median."""

    label: str
    low: float
    quarter: float
    middle: float
    three_quarters: float
    high: float
    value: str


def bars(rows: Sequence[Bar], *, colours: Sequence[int] = tuple(range(8)), title: str) -> str:
    """Return bars one below the other, all to one scale."""
    longest = max((sum(row.parts) for row in rows), default=0.0) or 1.0
    room = WIDTH - _LABEL - _VALUE
    shapes = []
    for number, row in enumerate(rows):
        y, x = number * (_BAR + _GAP), float(_LABEL)
        shapes.append(_text(_LABEL - 8, y + 13, row.label, anchor="end"))
        for part, colour in zip(row.parts, colours, strict=False):
            width = part / longest * room
            shapes.append(_rect(x, y, width, _BAR, colour))
            x += width
        shapes.append(_text(x + 6, y + 13, row.value))
    return _svg(len(rows) * (_BAR + _GAP), shapes, title)


def stacked(parts: Sequence[tuple[str, float]], *, title: str) -> str:
    """Return one bar that is all of something, its parts side by side."""
    whole = sum(size for _, size in parts) or 1.0
    shapes, x = [], 0.0
    for number, (label, size) in enumerate(parts):
        width = size / whole * WIDTH
        shapes.append(_rect(x, 0, width, 34, number, f"{label}: {size / whole:.1%}"))
        x += width
    return _svg(34, shapes, title)


def ranges(rows: Sequence[Range], low: float, high: float, *, title: str) -> str:
    """Return spans one below the other on an axis from low to high, written in per cent."""
    room, height = WIDTH - _LABEL - _VALUE, len(rows) * (_BAR + _GAP)
    scale = room / ((high - low) or 1.0)

    def at(value: float) -> float:
        return _LABEL + (min(max(value, low), high) - low) * scale

    shapes = []
    for tick in range(6):
        value = low + (high - low) * tick / 5
        shapes.append(_line(at(value), 0, at(value), height))
        shapes.append(_text(at(value), height + 14, f"{value:.0%}", anchor="middle"))
    for number, row in enumerate(rows):
        y = number * (_BAR + _GAP)
        shapes.append(_text(_LABEL - 8, y + 13, row.label, anchor="end"))
        shapes.append(_rect(at(row.low), y + 8, at(row.high) - at(row.low), 2, 0))
        half = max(at(row.three_quarters) - at(row.quarter), 2.0)
        shapes.append(_rect(at(row.quarter), y + 3, half, 12, 0))
        shapes.append(_rect(at(row.middle) - 1.5, y, 3, _BAR, 1))
        shapes.append(_text(WIDTH - _VALUE + 6, y + 13, row.value))
    return _svg(height + 20, shapes, title)


def columns(heights: Sequence[float], labels: Sequence[str], *, title: str) -> str:
    """Return columns side by side, each with a label; a few labels are shown."""
    width = WIDTH / max(len(heights), 1)
    highest = max(heights, default=0.0) or 1.0
    step = max(1, -(-len(labels) // 8))
    shapes = [_line(0, _PLOT_HEIGHT, WIDTH, _PLOT_HEIGHT)]
    for number, (height, label) in enumerate(zip(heights, labels, strict=True)):
        tall = height / highest * _PLOT_HEIGHT
        x = number * width
        name = f"{label}: {height:g}"
        shapes.append(_rect(x + 1, _PLOT_HEIGHT - tall, max(width - 2, 1), tall, 0, name))
        if number % step == 0:
            shapes.append(_text(x, _PLOT_HEIGHT + 16, label))
    return _svg(_PLOT_HEIGHT + 22, shapes, title)


def stairs(
    points: Sequence[tuple[float, float]], *, lowest: str, highest: str, ends: tuple[str, str],
    title: str,
) -> str:  # fmt: skip
    """Return a line that keeps its height until the next point.

    Args:
        points: Places and heights, by rising place.
        lowest: What is written at the bottom.
        highest: What is written at the top.
        ends: What is written at the first place and at the last.
        title: For those who cannot see it.
    """
    first, last = points[0][0], points[-1][0]
    across = (WIDTH - 2 * _MARGIN) / ((last - first) or 1.0)
    up = _PLOT_HEIGHT / (max(height for _, height in points) or 1.0)
    path: list[str] = []
    before: float | None = None
    for place, height in points:
        x, y = _MARGIN + (place - first) * across, _PLOT_HEIGHT + 14 - height * up
        path += [f"{x:.1f},{before:.1f}"] if before is not None else []
        path.append(f"{x:.1f},{y:.1f}")
        before = y
    bottom = _PLOT_HEIGHT + 14
    shapes = [
        _line(_MARGIN, bottom, WIDTH - _MARGIN, bottom),
        f'<polyline class="l0" points="{" ".join(path)}"/>',
        _text(0, 12, highest),
        _text(0, bottom, lowest),
        _text(_MARGIN, bottom + 16, ends[0]),
        _text(WIDTH - _MARGIN, bottom + 16, ends[1], anchor="end"),
    ]
    return _svg(bottom + 22, shapes, title)


def legend(names: Sequence[str]) -> str:
    """Return the names of colours, in their order, as HTML."""
    items = [
        f'<span><i class="b{number}"></i>{escape(name)}</span>' for number, name in enumerate(names)
    ]
    return f'<p class="legend">{"".join(items)}</p>'


def _svg(height: float, shapes: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img"><title>{escape(title)}</title>'
        f"{''.join(shapes)}</svg>"
    )


def _rect(x: float, y: float, width: float, height: float, colour: int, name: str = "") -> str:
    told = f"<title>{escape(name)}</title>" if name else ""
    return (
        f'<rect class="c{colour}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.0):.1f}" '
        f'height="{height:.1f}">{told}</rect>'
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="axis" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return (
        f'<text class="text" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
