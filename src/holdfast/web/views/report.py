"""What checkpointing has cost a run and saved it."""

from __future__ import annotations

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from holdfast.errors import NoHistory
from holdfast.pages.report import report_sections
from holdfast.web.history import report_of
from holdfast.web.site import page, site_of
from holdfast.web.views.query import required

_PATIENCE_S = 1.0


def report(request: Request) -> Response:
    """Show the effectiveness report of a run."""
    site, run = site_of(request), required(request, "run")
    task = report_of(site, run)
    if not task.wait(_PATIENCE_S):
        return page(request, "working.html", title=f"Report of {run}", task=task)
    try:
        found = task.answer()
    except NoHistory as error:
        return page(request, "report.html", run=run, sections=[], why=error.message, report=None)
    # They escape what they show.
    sections = [Markup(section) for section in report_sections(found)]
    return page(request, "report.html", run=run, sections=sections, why="", report=found)
