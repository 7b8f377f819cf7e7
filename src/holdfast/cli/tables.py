"""Lay out tables for a given width; pure, and quick enough for a hundred thousand rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from holdfast.wording.visible import visible

GAP = 2
_WRAPPED_COLUMNS = 16


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; one that may wrap gives way when the terminal is narrow."""

    title: str
    right: bool = False
    may_wrap: bool = False
    style: str = ""


@dataclass(frozen=True, slots=True)
class Styled:
    """Text with a style of rich, such as ``bold red``."""

    text: str
    style: str


Cell = str | Styled
Rows = Sequence[Sequence[Cell]]
Line = list[Styled]


def without_empty(columns: Sequence[Column], rows: Rows) -> tuple[list[Column], list[list[Cell]]]:
    """Return a table without the columns that hold nothing."""
    filled = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    return [columns[place] for place in filled], [[row[place] for place in filled] for row in rows]


def natural_width(columns: Sequence[Column], rows: Rows) -> int:
    """Return the width that a table needs with no cell wrapped."""
    return _in_all(_natural(columns, rows))


def table(columns: Sequence[Column], rows: Rows, width: int) -> Iterator[Line]:
    """Yield the lines of a table or, where it cannot fit, each row as a list of its own.

    Args:
        columns: Titles, and how their columns look.
        rows: As many cells in each as there are columns.
        width: What the terminal has; the widest of the columns that may wrap are cut first.
    """
    widths = _fitted(columns, _natural(columns, rows), width) or _fitted(
        columns, _natural(columns, rows, whole_titles=False), width
    )
    if widths is None:
        yield from _stacked(columns, rows, width)
        return
    yield from _row([Styled(column.title, "bold") for column in columns], columns, widths)
    for row in rows:
        yield from _row(row, columns, widths)


def facts(pairs: Iterable[tuple[str, Cell]], width: int) -> Iterator[Line]:
    """Yield the lines of names with their values."""
    rows = [(Styled(name, "dim"), value) for name, value in pairs]
    columns = (Column("", style="dim"), Column(""))
    widest = max((_cells(_text(name)) for name, _ in rows), default=0)
    for row in rows:
        yield from _row(row, columns, [widest, max(8, width - widest - GAP)])


def wrapped(text: str, width: int) -> list[str]:
    """Return text in lines of at most a width, broken at spaces where that is possible.

    >>> wrapped("every 500 steps", 10), wrapped("abcdef", 4)
    (['every 500', 'steps'], ['abcd', 'ef'])
    """
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if _cells(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        *full, lines[-1] = _folded(word, width)
        lines[-1:-1] = full
    return lines


def _folded(word: str, width: int) -> list[str]:
    if word.isascii():
        return [word[at : at + width] for at in range(0, len(word), width)] or [""]
    pieces = [""]
    for character in word:
        if pieces[-1] and _cells(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces


def _row(row: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int]) -> Iterator[Line]:
    texts = [_text(cell) for cell in row]
    styles = [
        cell.style if isinstance(cell, Styled) else column.style
        for cell, column in zip(row, columns, strict=True)
    ]
    pieces = [
        [text] if _cells(text) <= width else wrapped(text, width)
        for text, width in zip(texts, widths, strict=True)
    ]
    for number in range(max(map(len, pieces))):
        parts = [piece[number] if number < len(piece) else "" for piece in pieces]
        yield _line(parts, styles, columns, widths)


def _line(
    parts: Sequence[str], styles: Sequence[str], columns: Sequence[Column], widths: Sequence[int]
) -> Line:
    line: Line = []
    owed = ""  # Spaces that are written only when something follows.
    for part, style, column, width in zip(parts, styles, columns, widths, strict=True):
        padding = " " * (width - _cells(part))
        if column.right:
            owed, padding = owed + padding, ""
        if part:
            line += [Styled(owed, ""), Styled(part, style)]
            owed = ""
        owed += padding + " " * GAP
    return line


def _stacked(columns: Sequence[Column], rows: Rows, width: int) -> Iterator[Line]:
    for number, row in enumerate(rows):
        if number:
            yield []
        named = zip(columns, row, strict=True)
        yield from facts(((column.title, cell) for column, cell in named if cell), width)


def _natural(columns: Sequence[Column], rows: Rows, whole_titles: bool = True) -> list[int]:
    words = [[column.title] if whole_titles else column.title.split(" ") for column in columns]
    widths = [max(map(_cells, title)) for title in words]
    for row in rows:
        for place, cell in enumerate(row):
            widths[place] = max(widths[place], _cells(_text(cell)))
    return widths


def _fitted(columns: Sequence[Column], natural: Sequence[int], width: int) -> list[int] | None:
    """Return the columns' widths, the widest that may wrap cut first; None if they cannot fit."""
    most = min(max(natural), width)
    for limit in range(most, min(_WRAPPED_COLUMNS, most) - 1, -1):
        widths = [
            min(needed, limit) if column.may_wrap else needed
            for column, needed in zip(columns, natural, strict=True)
        ]
        if _in_all(widths) <= width:
            return widths
    return None


def _in_all(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _text(cell: Cell) -> str:
    text = cell.text if isinstance(cell, Styled) else cell
    return text if text.isprintable() else visible(text)


def _cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
