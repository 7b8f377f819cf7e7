"""How the layers of a run moved from checkpoint to checkpoint."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from holdfast.history.heat import heat_of_layers
from holdfast.history.info import CheckpointInfo
from holdfast.history.layers import layers_over_time, newest_line
from holdfast.web.history import history_of
from holdfast.web.site import page, site_of
from holdfast.web.views.query import number, required

_PATIENCE_S = 0.4


def layers(request: Request) -> Response:
    """Show the movement of each layer over some checkpoints of a run, or how far that is."""
    site, run = site_of(request), required(request, "run")
    glob = request.query_params.get("glob") or "**"
    depth, most = number(request, "depth", 3, 1, 12), number(request, "columns", 12, 2, 60)
    line = _spread(newest_line(list(history_of(site, run).checkpoints)), most)
    facts: dict[str, Any] = {"run": run, "glob": glob, "depth": depth, "columns": most}
    if len(line) < 2:
        return page(request, "layers.html", heat=None, shown=None, **facts)
    name = ("layers", run, glob, depth, tuple(info.id for info in line))
    task = site.work.task(
        name,
        lambda progress: layers_over_time(
            run,
            line,
            lambda a, b: site.store.diff(a.ref, b.ref, only=glob, progress=progress),
            depth,
        ),
    )
    if not task.wait(_PATIENCE_S):
        return page(request, "working.html", title=f"Layers of {run}", task=task)
    shown = task.answer()
    return page(request, "layers.html", heat=heat_of_layers(shown), shown=shown, **facts)


def _spread(line: list[CheckpointInfo], most: int) -> list[CheckpointInfo]:
    """Return so many checkpoints at even distances, the first and the newest among them."""
    if len(line) <= most:
        return line
    return [line[round(i * (len(line) - 1) / (most - 1))] for i in range(most)]
