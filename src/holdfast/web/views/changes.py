"""What may be changed from the pages, where they were started so: tags, notes, removals."""

from __future__ import annotations

import hmac
from hashlib import sha256
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from holdfast.errors import UsageError
from holdfast.history.retention import PruneReport, united
from holdfast.web.site import Site, link, site_of

_MOST_BYTES = 100_000


async def tag(request: Request) -> Response:
    """Give a checkpoint a tag."""
    site, form = await _form(request)
    ref, name = _field(form, "ref"), _field(form, "name")
    await run_in_threadpool(site.store.tag, ref, name)
    site.pulses.forget()
    return _back_to("/checkpoint", ref=ref)


async def note(request: Request) -> Response:
    """Write a note on a checkpoint or a run."""
    site, form = await _form(request)
    target = _field(form, "target")
    await run_in_threadpool(site.store.note, target, _field(form, "text"))
    site.pulses.forget()
    if "@" in target:
        return _back_to("/checkpoint", ref=target)
    return _back_to("/run", run=target)


async def prune(request: Request) -> Response:
    """Remove what a policy does not keep; the page before has shown what that is."""
    site, form = await _form(request)
    run, keep = _field(form, "run"), _field(form, "keep")
    planned = form.get("removes", "")
    found = await run_in_threadpool(site.store.prune, run, united(keep.split()), dry_run=True)
    if not hmac.compare_digest(planned.encode(), mark_of(found).encode()):
        raise UsageError(
            "What would be removed is not what was shown: the run has gone on meanwhile. Nothing "
            "was removed. Look at the plan again."
        )
    await run_in_threadpool(site.store.prune, run, united(keep.split()))
    site.pulses.forget()
    return _back_to("/storage", run=run, keep=keep)


def mark_of(plan: PruneReport) -> str:
    """Return what tells a plan from every other, by the checkpoints that it removes.

    A form with their ids themselves would be larger than a page may be.
    """
    return sha256("\n".join(sorted(info.id for info, _ in plan.removed)).encode()).hexdigest()


async def _form(request: Request) -> tuple[Site, dict[str, str]]:
    site = site_of(request)
    if not site.allow_changes:
        raise HTTPException(403, "These pages only show. Start them with --allow-changes.")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BYTES:
            raise HTTPException(413, "That is more than any form here has.")
    form = dict(parse_qsl(body.decode("utf-8", "replace")))
    if not hmac.compare_digest(form.get("secret", "").encode(), site.form_secret.encode()):
        raise HTTPException(403, "The form is from before these pages were started. Load it again.")
    return site, form


def _field(form: dict[str, str], name: str) -> str:
    value = form.get(name, "").strip()
    if not value:
        raise UsageError(f"The form has no {name}.")
    return value


def _back_to(path: str, **query: object) -> Response:
    return RedirectResponse(link(path, **query), 303)
