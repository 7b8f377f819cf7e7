"""One run: its metrics, what goes wrong in them, and its checkpoints."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from holdfast.history.best import judged_bests
from holdfast.history.summary import summary_of
from holdfast.web.history import findings_of, graph_of, history_of, ref_of
from holdfast.web.site import page, site_of
from holdfast.web.views.query import required, slice_of

PAGE_ROWS = 50


def run(request: Request) -> Response:
    """Show a run."""
    site, name = site_of(request), required(request, "run")
    history = history_of(site, name)
    newest_first = list(reversed(history.checkpoints))
    part = slice_of(request, len(newest_first), PAGE_ROWS)
    shown = newest_first[part.begin : part.end]
    summary = summary_of(history.checkpoints, history.damaged)
    return page(
        request,
        "run.html",
        run=name,
        history=history,
        summary=summary,
        bests=judged_bests(summary),
        findings=findings_of(site, name),
        graph=graph_of(site, name),
        shown=[(info, ref_of(site, info)) for info in shown],
        part=part,
        metrics=list(dict.fromkeys(m for info in shown for m in info.metrics))[:4],
        stored_bytes=site.store.stored_bytes(name),
        given_back=site.store.given_back(name),
    )
