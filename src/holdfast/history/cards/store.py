"""A store as HTML: its runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.errors import HoldfastError
from holdfast.history.best import judged_bests
from holdfast.history.cards.checkpoint import moment
from holdfast.history.lineage import Branch
from holdfast.markup.card import MOST, badge, card, shortened, soft, unbroken
from holdfast.markup.pieces import Cell, Made, html_of
from holdfast.wording.numbers import bytes_text, metric_text, plural


def store_card(
    path: str, lineage: Callable[[], Sequence[Branch]], stored_bytes: Callable[[str], int]
) -> str:
    """Return the runs of a store; where it cannot be read, why.

    Args:
        path: Where it is.
        lineage: Gives its runs.
        stored_bytes: Gives what a run takes.
    """
    try:
        return _card(path, lineage(), stored_bytes)
    except (HoldfastError, OSError) as error:
        # Whoever only looks at the object shall not get a traceback instead.
        return card(f"Store {path}", soft(str(error)), badges=[badge("cannot be read", "bad")])


def _card(path: str, branches: Sequence[Branch], stored_bytes: Callable[[str], int]) -> str:
    if not branches:
        return card(f"Store {path}", soft("No runs yet: the first save makes one."))
    titles = ["run", "forked from", "saved", "best", "checkpoints", "latest", "stored"]
    rows = [_row(branch, stored_bytes(branch.run)) for branch in branches[:MOST]]
    return card(
        f"Store {path}",
        f"<p>{plural(len(branches), 'run')}</p>",
        shortened(titles, rows, "run", n_all=len(branches), text_columns=4),
    )


def _row(branch: Branch, stored_bytes: int) -> list[Cell]:
    summary = branch.summary
    latest = summary.latest
    best = ", ".join(f"{b.metric} {metric_text(b.value)} @{b.step}" for b in judged_bests(summary))
    damaged = badge(f"{len(summary.damaged):,} damaged", "bad") if summary.damaged else ""
    set_back = badge("set back", "bad") if summary.set_back is not None else ""
    return [
        Made(f"{'&emsp;' * min(branch.depth, 8)}<b>{html_of(branch.run)}</b>{set_back}{damaged}"),
        branch.forked_from.ref if branch.forked_from is not None else "",
        unbroken(moment(latest.created)) if latest is not None else "",
        best,
        f"{summary.n_checkpoints:,}",
        f"@{latest.step}" if latest is not None else "",
        bytes_text(stored_bytes),
    ]
