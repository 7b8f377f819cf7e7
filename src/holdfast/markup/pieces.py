"""Sections, paragraphs, figures, tables. How they look is up to where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from holdfast.wording.visible import visible


@dataclass(frozen=True, slots=True)
class Made:
    """HTML that was made here; anything else is text, and escaped.

    Attributes:
        html: The HTML.
        css: The class of the table's cell that it stands in.
    """

    html: str
    css: str = ""


Cell = str | Made


def section(title: str, *parts: str) -> str:
    """Return a part of the page with a heading."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def figures(pairs: Sequence[tuple[str, str]]) -> str:
    """Return a few figures, large, with what they are."""
    items = [
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in pairs
    ]
    return f'<div class="big">{"".join(items)}</div>'


def note(text: str, *, doubt: bool = False) -> str:
    """Return a paragraph."""
    mark = ' class="doubt"' if doubt else ""
    return f"<p{mark}>{escape(text)}</p>"


def table(titles: Sequence[str], rows: Sequence[Sequence[Cell]], *, text_columns: int = 1) -> str:
    """Return a table; all columns but the first ones are numbers."""

    def row(cells: Sequence[Cell], tag: str) -> str:
        return "".join(
            f"<{tag}{_class_of(cell, place < text_columns)}>{html_of(cell)}</{tag}>"
            for place, cell in enumerate(cells)
        )

    lines = [row(titles, "th"), *(row(cells, "td") for cells in rows)]
    made = "".join(f"<tr>{line}</tr>" for line in lines)
    # One that is wider than the screen is moved by itself, by keys too.
    return f'<div class="scroll" tabindex="0"><table>{made}</table></div>'


def html_of(cell: Cell) -> str:
    """Return HTML: what was made as it is, text escaped.

    >>> html_of("<b>"), html_of(Made("<b>x</b>"))
    ('&lt;b&gt;', '<b>x</b>')
    """
    if isinstance(cell, Made):
        return cell.html
    return "<br>".join(escape(visible(line)) for line in cell.split("\n"))


def _class_of(cell: Cell, is_text: bool) -> str:
    own = cell.css if isinstance(cell, Made) else ""
    css = " ".join(name for name in ("" if is_text else "n", own) if name)
    return f' class="{css}"' if css else ""
