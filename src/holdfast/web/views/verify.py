"""Every byte of a checkpoint read and checked."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from holdfast.web.history import ref_of
from holdfast.web.site import page, site_of
from holdfast.web.views.query import required

_PATIENCE_S = 0.4


def verify(request: Request) -> Response:
    """Show what a check found, or how far it is."""
    site, ref = site_of(request), required(request, "ref")
    info = site.store.info(ref)
    name = ("verify", info.id)
    if request.query_params.get("again"):
        # What was good a while ago may not be so now.
        site.work.forget(name)
    task = site.work.task(name, lambda progress: site.store.verify(info.exact_ref, progress))
    if not task.wait(_PATIENCE_S):
        return page(request, "working.html", title=f"Checking {info.ref}", task=task)
    return page(request, "verify.html", info=info, ref=ref_of(site, info), report=task.answer())
