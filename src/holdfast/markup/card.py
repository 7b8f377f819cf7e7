"""One object as a block of HTML within somebody else's page, such as a notebook.

There is no script in it, and nothing is fetched. Notebooks are light or dark and do not tell which:
text and rules take their colour from around them, and what is coloured brings its own ground along.
Where a viewer strips styles, plain tables remain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.markup.pieces import Cell, Made, html_of, table
from holdfast.wording.numbers import plural

# Longer lists are read by nobody, and a notebook keeps every one that it was ever shown.
MOST = 20

_SHADES = (
    *(("#f3f0c3", "#1c2430"), ("#dfe9ae", "#1c2430"), ("#c0dfa0", "#1c2430")),
    *(("#97d1a0", "#1c2430"), ("#6dc0a8", "#10171f"), ("#57a9b4", "#0a0f14")),
    *(("#2b6d95", "#fff"), ("#2c4f88", "#fff"), ("#2c2a66", "#fff")),
)
# As specific as it is because notebooks have a style of their own for tables.
_STYLE = """
.holdfast-card{font:13px/1.45 system-ui,sans-serif;color:inherit;margin:.3em 0}
.holdfast-card .title{font-size:1.15em;font-weight:600}
.holdfast-card .soft{opacity:.78}
.holdfast-card p{margin:.3em 0}
.holdfast-card .scroll{overflow-x:auto;max-width:100%}
.holdfast-card div table{border-collapse:collapse;border:0;margin:.4em 0;font-size:1em;
font-variant-numeric:tabular-nums;table-layout:auto}
.holdfast-card div table tr,.holdfast-card div table tr:hover{background:transparent}
.holdfast-card div table th,.holdfast-card div table td{text-align:left;vertical-align:top;
color:inherit;padding:.18em 1em .18em 0;border:0;border-bottom:1px solid rgba(128,128,128,.4);
max-width:42em;overflow-wrap:break-word;white-space:normal;font-weight:400}
.holdfast-card div table th{font-weight:600;white-space:nowrap}
.holdfast-card div table .u{white-space:nowrap}
.holdfast-card div table .n{text-align:right;white-space:nowrap}
.holdfast-card .badge{border-radius:3px;padding:0 .4em;margin-left:.5em;color:#fff;
background:#4a5463}
.holdfast-card td .badge:first-child{margin-left:0}
.holdfast-card .bad{background:#a32020}.holdfast-card .good{background:#1d6b3e}
.holdfast-card summary{cursor:pointer}
.holdfast-card svg{vertical-align:middle}
.holdfast-card div table td.h{text-align:right;white-space:nowrap;padding:.15em .5em}
""" + "".join(
    f".holdfast-card div table td.h{number}{{background:{ground};color:{ink}}}\n"
    for number, (ground, ink) in enumerate(_SHADES, 1)
)


def card(title: str, *parts: str, badges: Sequence[str] = ()) -> str:
    """Return the block: a title with badges beside it, then parts, which are HTML."""
    head = f'<div class="title">{html_of(title)}{"".join(badges)}</div>'
    return f'<div class="holdfast-card"><style>{_STYLE}</style>{head}{"".join(parts)}</div>'


def badge(text: str, kind: str = "") -> str:
    """Return a word on a ground of its own; the kind is ``good``, ``bad`` or neither."""
    css = f"badge {kind}".strip()
    return f'<span class="{css}">{html_of(text)}</span>'


def soft(text: str) -> str:
    """Return a paragraph that says something by the way."""
    return f'<p class="soft">{html_of(text)}</p>'


def facts(pairs: Sequence[tuple[str, Cell]]) -> str:
    """Return names with their values; those without a value are left out."""
    rows = "".join(
        f"<tr><th>{html_of(name)}</th><td>{html_of(value)}</td></tr>"
        for name, value in pairs
        if value
    )
    return f'<div class="scroll" tabindex="0"><table>{rows}</table></div>' if rows else ""


def shortened(
    titles: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    noun: str,
    *,
    n_all: int,
    text_columns: int = 1,
) -> str:
    """Return a table of the first of some rows, and how many more of what there are."""
    if not rows:
        return ""
    filled = [place for place in range(len(titles)) if any(row[place] for row in rows)]
    shown = table(
        [titles[place] for place in filled],
        [[row[place] for place in filled] for row in rows],
        text_columns=sum(place < text_columns for place in filled),
    )
    return shown + and_more(n_all - len(rows), noun)


def and_more(count: int, noun: str) -> str:
    """Return word of how many more there are; nothing where there are none."""
    return soft(f"… and {plural(count, noun)} more") if count > 0 else ""


def listed(title: str, lines: Sequence[str], noun: str) -> str:
    """Return a list below a heading, cut where it is long; nothing where it is empty."""
    if not lines:
        return ""
    items = "".join(f"<li>{html_of(line)}</li>" for line in lines[:MOST])
    return f"<p>{html_of(title)}</p><ul>{items}</ul>{and_more(len(lines) - MOST, noun)}"


def folded(title: str, pairs: Mapping[str, object] | Sequence[tuple[str, object]]) -> str:
    """Return names with values that are shown when asked for; nothing where there are none."""
    items = list(pairs.items() if isinstance(pairs, Mapping) else pairs)
    if not items:
        return ""
    rows = facts([(name, short(value)) for name, value in items[:MOST]])
    rest = and_more(len(items) - MOST, "value")
    return f"<details><summary>{html_of(title)}</summary>{rows}{rest}</details>"


def short(value: object, most: int = 400) -> str:
    """Return a value as text that is not too long.

    >>> short(["a", 1]), short("x" * 500, 5)
    ('a 1', 'xxxx…')
    """
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def unbroken(text: str) -> Made:
    """Return a cell that stays on one line."""
    return Made(html_of(text), "u")


def shaded(text: str, shade: int) -> Made:
    """Return a cell of a map of heat; shade 0 is none, 1 to 9 are hardly to far."""
    return Made(html_of(text), f"h h{shade}" if shade else "h")
