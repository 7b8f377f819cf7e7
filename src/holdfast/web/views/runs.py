"""The first page: all runs of the store, each below the one that it was forked from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from holdfast.history.best import Best, judged_bests
from holdfast.history.lineage import Branch
from holdfast.web.site import page, site_of


@dataclass(frozen=True, slots=True)
class Row:
    """A run in the list of runs."""

    branch: Branch
    bests: Sequence[Best]
    stored_bytes: int


def runs(request: Request) -> Response:
    """Show the runs as a tree."""
    store = site_of(request).store
    branches = store.lineage() if store.place.is_there else []
    rows = [
        Row(branch, judged_bests(branch.summary)[:3], store.stored_bytes(branch.run))
        for branch in branches
    ]
    total = sum(row.stored_bytes for row in rows)
    return page(request, "runs.html", rows=rows, stored_bytes=total)
