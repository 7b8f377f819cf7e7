"""The application: which address shows what."""

from __future__ import annotations

from collections.abc import Collection

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from holdfast.errors import (
    DataError,
    EnvironmentTrouble,
    HoldfastError,
    NotFound,
    Untrusted,
    UsageError,
)
from holdfast.web.guard import Guard
from holdfast.web.site import STATIC, Site, page
from holdfast.web.views import (
    changes,
    checkpoint,
    data,
    diff,
    layers,
    report,
    run,
    runs,
    storage,
    together,
    verify,
)

ROUTES = (
    Route("/", runs.runs),
    Route("/run", run.run),
    Route("/together", together.together),
    Route("/checkpoint", checkpoint.checkpoint),
    Route("/diff", diff.diff),
    Route("/layers", layers.layers),
    Route("/report", report.report),
    Route("/storage", storage.storage),
    Route("/verify", verify.verify),
    Route("/data/curves", data.curves),
    Route("/data/pulse", data.pulse),
    Route("/spark.svg", data.spark),
    Route("/tag", changes.tag, methods=["POST"]),
    Route("/note", changes.note, methods=["POST"]),
    Route("/prune", changes.prune, methods=["POST"]),
)


def make_app(
    site: Site, *, names: Collection[str] | None = None, token: str | None = None
) -> Starlette:
    """Return the application.

    Args:
        site: What it shows.
        names: The hosts that it may be asked for as; None: any.
        token: What must be known to be let in; None: nothing.
    """
    app = Starlette(
        routes=[*ROUTES, Mount("/static", StaticFiles(directory=str(STATIC)))],
        middleware=[Middleware(Guard, names=names, token=token)],
        exception_handlers={
            HoldfastError: _failed,
            HTTPException: _not_there,
            Exception: _bug,
        },
    )
    app.state.site = site
    return app


def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HoldfastError)
    statuses = {NotFound: 404, UsageError: 400, Untrusted: 403, EnvironmentTrouble: 503}
    # A page that tells of damage is what was asked for; a program is told that it failed.
    told = 200 if isinstance(error, DataError) and _is_page(request) else 500
    status = next((s for kind, s in statuses.items() if isinstance(error, kind)), told)
    return page(request, "error.html", status=status, title=error.kind, text=error.message)


def _is_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _not_there(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = "There is no such page here." if error.status_code == 404 else error.detail
    return page(request, "error.html", status=error.status_code, title="not found", text=text)


def _bug(request: Request, error: Exception) -> Response:
    text = f"{type(error).__name__}: {error}. This is a bug in holdfast; the store is as it was."
    return page(request, "error.html", status=500, title="internal", text=text)
