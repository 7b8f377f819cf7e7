"""What checkpointing has cost a run and saved it."""

from __future__ import annotations

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from holdfast.errors import NoHistory
from holdfast.pages.report import report_sections
from holdfast.web.site import page, site_of
from holdfast.web.views.query import required


def report(request: Request) -> Response:
    """Show the effectiveness report of a run."""
    site, run = site_of(request), required(request, "run")
    try:
        found = site.store.report(run)
    except NoHistory as error:
        return page(request, "report.html", run=run, sections=[], why=error.message, report=None)
    # They escape what they show.
    sections = [Markup(section) for section in report_sections(found)]
    return page(request, "report.html", run=run, sections=sections, why="", report=found)
