"""Draw the lineage of checkpoints beside their rows, the way ``git log --graph`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters that the graph is drawn with."""

    node: str
    line: str
    across: str
    join: str


UNICODE = Glyphs(node="●", line="│", across="─", join="╯")
ASCII = Glyphs(node="*", line="|", across="-", join="'")


def draw(nodes: Sequence[tuple[str, str | None]], glyphs: Glyphs = UNICODE) -> list[str]:
    """Return one line of graph for each checkpoint.

    Args:
        nodes: Id and parent's id of each checkpoint, newest first. A parent that is not among
            them (it was pruned, or is in another run) ends its line.
        glyphs: What to draw with.

    Returns:
        As many strings as nodes. Where lines that forked from one checkpoint meet, the joint is
        drawn in that checkpoint's row.

    >>> print("\\n".join(draw([("d", "b"), ("c", "b"), ("b", "a"), ("a", None)])))
    ●
    │ ●
    ●─╯
    ●
    """
    known = {name for name, _ in nodes}
    waiting: list[str | None] = []  # For each lane, the checkpoint that it leads down to.
    rows = []
    for name, parent in nodes:
        lanes = [lane for lane, wanted in enumerate(waiting) if wanted == name]
        if not lanes:
            lanes = [_free_lane(waiting)]
        rows.append(_row(waiting, lanes, glyphs))
        for lane in lanes:
            waiting[lane] = None
        waiting[lanes[0]] = parent if parent in known else None
        while waiting and waiting[-1] is None:
            waiting.pop()
    return rows


def _free_lane(waiting: list[str | None]) -> int:
    for lane, wanted in enumerate(waiting):
        if wanted is None:
            return lane
    waiting.append(None)
    return len(waiting) - 1


def _row(waiting: Sequence[str | None], lanes: Sequence[int], glyphs: Glyphs) -> str:
    node, last = lanes[0], lanes[-1]
    cells = []
    for lane, wanted in enumerate(waiting):
        if lane == node:
            mark = glyphs.node
        elif lane in lanes:
            mark = glyphs.join
        elif wanted is not None:
            mark = glyphs.line
        else:
            mark = glyphs.across if node < lane < last else " "
        cells.append(mark + (glyphs.across if node <= lane < last else " "))
    return "".join(cells).rstrip()
