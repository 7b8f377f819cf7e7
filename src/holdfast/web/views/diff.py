"""Two checkpoints side by side: what changed, and how far each layer moved."""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.responses import Response

from holdfast.history.diff.report import DiffReport, TensorChange
from holdfast.history.heat import heat_of_diff
from holdfast.web.history import ref_of
from holdfast.web.site import page, site_of
from holdfast.web.views.query import number, required, slice_of

PAGE_ROWS = 100
_PATIENCE_S = 0.4


def diff(request: Request) -> Response:
    """Show a comparison, or how far it is."""
    site = site_of(request)
    a, b = site.store.info(required(request, "a")), site.store.info(required(request, "b"))
    task = site.work.task(
        ("diff", a.id, b.id),
        lambda progress: site.store.diff(a.exact_ref, b.exact_ref, progress=progress),
    )
    if not task.wait(_PATIENCE_S):
        return page(request, "working.html", title=f"{a.ref} → {b.ref}", task=task)
    report = task.answer()
    depth = number(request, "depth", 3, 1, 12)
    moved = _moved(report)
    part = slice_of(request, len(moved), PAGE_ROWS)
    return page(
        request,
        "diff.html",
        report=report,
        refs=(ref_of(site, a), ref_of(site, b)),
        heat=heat_of_diff(report),
        depth=depth,
        groups=[group for group in report.groups(depth) if group.n_changed][:PAGE_ROWS],
        n_changed=sum(tensor.is_changed for tensor in report.tensors),
        moved=moved[part.begin : part.end],
        part=part,
        most=PAGE_ROWS,
    )


def _moved(report: DiffReport) -> list[TensorChange]:
    """Return the tensors that changed, farthest first; those that cannot be compared before all."""
    found = [t for t in report.tensors if t.is_changed and t.same_as is None]
    return sorted(found, key=_farthest_first)


def _farthest_first(tensor: TensorChange) -> float:
    relative = tensor.movement.relative if tensor.movement is not None else 0.0
    return -math.inf if math.isnan(relative) else -relative
