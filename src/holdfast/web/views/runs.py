"""The first page: all runs of the store, each below the one that it was forked from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from holdfast.history.best import Best, judged_bests
from holdfast.history.lineage import Branch
from holdfast.history.sparkline import main_metric
from holdfast.web.history import lineage_of, sizes_of, stored_in
from holdfast.web.site import page, site_of
from holdfast.web.views.query import slice_of

PAGE_ROWS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """A run in the list of runs."""

    branch: Branch
    bests: Sequence[Best]
    stored_bytes: int
    course: str | None


def runs(request: Request) -> Response:
    """Show the runs as a tree."""
    site = site_of(request)
    branches, sizes = lineage_of(site), sizes_of(site)
    part = slice_of(request, len(branches), PAGE_ROWS)
    rows = [
        Row(
            branch,
            judged_bests(branch.summary)[:3],
            sizes.get(branch.run, 0),
            main_metric(branch.summary.lowest) if branch.summary.n_checkpoints > 1 else None,
        )
        for branch in branches[part.begin : part.end]
    ]
    return page(request, "runs.html", rows=rows, part=part, stored_bytes=stored_in(site))
