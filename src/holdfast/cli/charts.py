"""Curves and movement drawn with characters, for terminals; lines of text for a given width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

from holdfast.cli.tables import Line, Styled
from holdfast.policy.curve import thinned
from holdfast.wording.numbers import metric_text
from holdfast.wording.visible import visible

if TYPE_CHECKING:
    from holdfast.history.run_picture import Panel
    from holdfast.policy.curve import Curve

_HEIGHT = 12
_LEAST_COLUMNS = 12
_BLANK_BRAILLE = "\u2800"
_HEIGHTS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Marks:
    """The characters that are drawn with; ``points`` has one for each curve but the first."""

    line: str
    points: str
    saved: str
    best: str
    since: str
    shades: str


UNICODE = Marks(line="⠒", points="ox+#@%&", saved="▴", best="★", since="✕", shades="·░▒▓█")
ASCII = Marks(line="*", points="ox+#@%&", saved="^", best="B", since="X", shades=".:+*#")


def chart(panel: Panel, saved: Sequence[int], width: int, marks: Marks) -> list[Line]:
    """Return the lines of a chart: curves, a row of marks, the steps, a legend.

    The first curve is a line, the others are points, so that they differ without colours too.

    Args:
        panel: What to draw.
        saved: Steps of checkpoints; none, and there are no ticks for them.
        width: Columns of the terminal.
        marks: What to draw with.
    """
    points = [point for curve in panel.curves.values() for point in _finite(curve)]
    if not points:
        return [[Styled(panel.title, "bold")], [Styled("no finite value", "dim")]]
    low, high = _limits([value for _, value in points])
    first, last = _limits([step for step, _ in points])
    labels = [metric_text(high), metric_text(low / 2 + high / 2), metric_text(low)]
    margin = max(map(len, labels)) + 1
    columns = max(_LEAST_COLUMNS, width - margin)
    rows = _canvas(panel, (first, last), (low, high), columns, marks)
    places = {0: labels[0], _HEIGHT // 2: labels[1], _HEIGHT - 1: labels[2]}
    lines: list[Line] = [[Styled(visible(panel.title), "bold")]]
    for number, row in enumerate(rows):
        label = places.get(number, "")
        lines.append([Styled(f"{label:>{margin - 1}} ", "dim"), Styled(row, "")])
    lines.append(
        [
            Styled(" " * margin, ""),
            Styled(_mark_row(panel, saved, first, last, columns, marks), "yellow"),
        ]
    )
    lines.append([Styled(" " * margin + _ends(points, columns), "dim")])
    lines.append([Styled(_legend(panel, marks, bool(saved)), "dim")])
    return lines


def shade(value: float, low: float, high: float, marks: Marks) -> str:
    """Return one character for a value on a logarithmic scale; blank where it is not known.

    >>> shade(1.0, 0.01, 1.0, UNICODE), shade(0.0, 0.01, 1.0, UNICODE)
    ('█', '·')
    """
    if math.isnan(value):
        return " "
    if value <= 0:
        return marks.shades[0]
    if not low < high:
        return marks.shades[-1]
    share = (math.log(min(value, high)) - math.log(low)) / (math.log(high) - math.log(low))
    return marks.shades[1 + min(3, max(0, int(share * 4)))]


def spark(values: Sequence[float], columns: int) -> str:
    """Return a curve in one line, of at most so many characters; values are finite.

    >>> spark([1.0, 0.5, 0.25, 0.0], 10), spark([1.0, 1.0], 10), spark([0.0, 2.0, 6.0, 8.0], 2)
    ('█▅▃▁', '▁▁', '▁█')
    """
    count = min(len(values), columns)
    ends = [len(values) * n // count for n in range(count + 1)] if count else []
    means = [fmean(values[begin:end]) for begin, end in pairwise(ends)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    most = len(_HEIGHTS) - 1
    return "".join(
        _HEIGHTS[round(_share(mean, (low, high)) * most) if high > low else 0] for mean in means
    )


def _finite(curve: Curve) -> list[tuple[int, float]]:
    pairs = zip(curve.steps, curve.values, strict=True)
    return [(step, value) for step, value in pairs if math.isfinite(value)]


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low < high:
        return low, high
    half = abs(low) / 2 or 0.5
    return low - half, high + half


def _share(value: float, limits: tuple[float, float]) -> float:
    """Return where a value lies between limits, from 0 to 1.

    >>> _share(2, (1, 5)), _share(0.0, (-1e308, 1e308))
    (0.25, 0.5)
    """
    low, high = limits
    if math.isinf(high - low):
        return (value / 2 - low / 2) / (high / 2 - low / 2)
    return (value - low) / (high - low)


def _canvas(
    panel: Panel,
    steps: tuple[float, float],
    values: tuple[float, float],
    columns: int,
    marks: Marks,
) -> list[str]:
    from plotille import Canvas

    # Coordinates of dots, counted from 0: the outermost points lie on the outermost dots.
    canvas = Canvas(columns, _HEIGHT, 0, 0, columns * 2, _HEIGHT * 4)

    def place(point: tuple[int, float]) -> tuple[float, float]:
        x = _share(point[0], steps) * (columns * 2 - 1)
        return x, _share(point[1], values) * (_HEIGHT * 4 - 1)

    for number, curve in enumerate(panel.curves.values()):
        placed = [place(point) for point in thinned(_finite(curve), columns * 2)]
        if number == 0:
            for (x0, y0), (x1, y1) in pairwise(placed):
                canvas.line(x0, y0, x1, y1)
        for x, y in placed:
            canvas.point(x, y, marker=marks.points[number - 1] if number else None)
    text: str = canvas.plot(linesep="\n")
    if marks is ASCII:
        text = "".join(_ascii(character, marks) for character in text)
    return [line.replace(_BLANK_BRAILLE, " ").rstrip() for line in text.split("\n")]


def _ascii(character: str, marks: Marks) -> str:
    if character == _BLANK_BRAILLE:
        return " "
    return character if character.isascii() else marks.line


def _mark_row(
    panel: Panel, saved: Sequence[int], first: float, last: float, columns: int, marks: Marks
) -> str:
    row = [" "] * columns

    def put(step: int, mark: str) -> None:
        if first <= step <= last:
            row[round((step - first) / (last - first) * (columns - 1))] = mark

    for step in saved:
        put(step, marks.saved)
    if panel.best is not None:
        put(panel.best[0], marks.best)
    for finding in panel.findings:
        put(finding.since_step, marks.since)
    return "".join(row).rstrip()


def _ends(points: Sequence[tuple[int, float]], columns: int) -> str:
    left = str(min(step for step, _ in points))
    right = str(max(step for step, _ in points))
    if left == right:
        return left.center(columns).rstrip()
    return left + right.rjust(columns - len(left))


def _legend(panel: Panel, marks: Marks, has_ticks: bool) -> str:
    glyphs = marks.line + marks.points
    words = [f"{glyph} {visible(name)}" for glyph, name in zip(glyphs, panel.curves, strict=False)]
    if has_ticks:
        words.append(f"{marks.saved} checkpoint")
    since = {finding.since_step for finding in panel.findings}
    if panel.best is not None and panel.best[0] not in since:
        words.append(f"{marks.best} best")
    if since:
        words.append(f"{marks.since} good until here")
    return "  ".join(words)
