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
    branch: str
    last: str


UNICODE = Glyphs(node="●", line="│", across="─", join="╯", branch="├", last="└")
ASCII = Glyphs(node="*", line="|", across="-", join="'", branch="|", last="`")
# A tree that is deeper is drawn as if it were not.
_MAX_DEPTH = 20


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


def drawn(nodes: Sequence[tuple[str, str | None]], glyphs: Glyphs = UNICODE) -> list[str]:
    """Return ``draw``'s lines, newest first; none where each only follows the one before.

    Args:
        nodes: Id and parent's id of each checkpoint, oldest first.
        glyphs: What to draw with.
    """
    lines = draw(nodes[::-1], glyphs)
    return lines if any(line != glyphs.node for line in lines) else []


def tree(depths: Sequence[int], glyphs: Glyphs = UNICODE) -> list[str]:
    """Return what goes before the name of each node of a tree, in pre-order, by its depth.

    >>> [line.rstrip() for line in tree([0, 1, 2, 1, 0])]
    ['', '├─', '│ └─', '└─', '']
    """
    lines = []
    open_below: list[bool] = []  # For each depth, whether another child is still to come.
    for depth in reversed(depths):
        shown = min(depth, _MAX_DEPTH)
        open_below += [False] * (shown + 1 - len(open_below))
        branch = glyphs.branch if open_below[shown] else glyphs.last
        bars = "".join(f"{glyphs.line} " if is_open else "  " for is_open in open_below[1:shown])
        lines.append(f"{bars}{branch}{glyphs.across} " if shown else "")
        open_below[shown] = True
        open_below[shown + 1 :] = []
    return lines[::-1]


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
