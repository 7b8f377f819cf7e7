"""What takes the store's space, and what a retention would remove next."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from holdfast.errors import UsageError
from holdfast.history.next_removal import next_removed
from holdfast.history.retention import united
from holdfast.web.history import history_of, ref_of, sizes_of, stored_in
from holdfast.web.site import page, site_of
from holdfast.web.views.changes import mark_of
from holdfast.web.views.query import slice_of

PAGE_ROWS = 100


def storage(request: Request) -> Response:
    """Show the bytes of each run; of one that is chosen, what a policy would remove and why."""
    site, run = site_of(request), request.query_params.get("run", "")
    keep = [text for text in request.query_params.get("keep", "").split() if text]
    sizes = sizes_of(site)
    plan, why, fates = None, "", []
    if run and keep:
        try:
            plan = site.store.prune(run, united(keep), dry_run=True)
        except UsageError as error:
            why = error.message
    if plan is not None:
        fates = [(info, "keep", ", ".join(reasons)) for info, reasons in plan.kept]
        fates += [(info, "remove", reason) for info, reason in plan.removed]
        fates.sort(key=lambda fate: fate[0].seq, reverse=True)
    own = site.store.retention(run) if run else ()
    part = slice_of(request, len(fates) if run else len(sizes), PAGE_ROWS)
    return page(
        request,
        "storage.html",
        sizes=sorted(sizes.items(), key=lambda item: -item[1]),
        total_bytes=stored_in(site),
        shared_bytes=max(0, sum(sizes.values()) - stored_in(site)),
        run=run,
        keep=" ".join(keep),
        own=own,
        going=next_removed(history_of(site, run).checkpoints, united(own)) if own else [],
        most=PAGE_ROWS,
        plan=plan,
        mark=mark_of(plan) if plan is not None else "",
        fates=fates[part.begin : part.end],
        part=part,
        why=why,
        ref_of=partial(ref_of, site),
    )
