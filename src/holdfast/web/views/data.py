"""What scripts of the pages ask for: curves, small pictures of them, whether anything is new."""

from __future__ import annotations

import math
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from holdfast.history.info import CheckpointInfo
from holdfast.history.run_picture import Panel
from holdfast.history.runs_picture import MOST_RUNS, check_runs
from holdfast.history.sparkline import sparkline
from holdfast.policy.curve import Curve, thinned
from holdfast.web.history import curves_of, history_of, picture_of_run, picture_of_runs, pulse_of
from holdfast.web.site import site_of
from holdfast.web.views.query import required, several

# More points than a chart is wide cannot be told apart.
_BINS = 600
# Marks on a chart: more of them than this would be a band.
_MARKS = 400


def curves(request: Request) -> Response:
    """Return the panels of a run, or of several: steps, values, checkpoints and findings."""
    site, runs = site_of(request), check_runs(several(request, "run"))
    are_several = len(runs) > 1
    shown = picture_of_runs(site, runs) if are_several else picture_of_run(site, runs[0])
    panels = [_panel(panel, runs if are_several else tuple(panel.curves)) for panel in shown.panels]
    marks = [
        {"step": info.step, "tags": list(info.tags), "colour": place if are_several else None}
        for place, run in enumerate(runs)
        for info in _spread(history_of(site, run).checkpoints, _MARKS // len(runs))
    ]
    return JSONResponse({"panels": panels, "checkpoints": marks})


def pulse(request: Request) -> Response:
    """Return a text that changes when there is something new in runs, or in the store."""
    runs = several(request, "run")[:MOST_RUNS]
    site = site_of(request)
    pulse = " ".join(pulse_of(site, run) for run in runs) if runs else pulse_of(site, None)
    return JSONResponse({"pulse": pulse})


def spark(request: Request) -> Response:
    """Return a small picture of a metric, or of the one that says most of a run."""
    curves = curves_of(site_of(request), required(request, "run"))
    svg = sparkline(curves, request.query_params.get("metric"))
    return Response(svg, media_type="image/svg+xml")


def _panel(panel: Panel, coloured: Sequence[str]) -> dict[str, object]:
    """Return a panel; a curve's colour is by its place among those that have one."""
    findings = [
        {"kind": f.kind, "since": f.since_step, "told": f.told_step, "text": f.text}
        for f in panel.findings
    ]
    aligned = _aligned({name: _thin(curve) for name, curve in panel.curves.items()})
    aligned["colours"] = [coloured.index(name) for name in panel.curves]
    told = {"best": panel.best, "best_of": panel.best_of, "findings": findings}
    return {"title": panel.title, **aligned, **told}


def _thin(curve: Curve) -> list[tuple[int, float]]:
    points = zip(curve.steps, curve.values, strict=True)
    return thinned([point for point in points if math.isfinite(point[1])], _BINS)


def _aligned(series: dict[str, list[tuple[int, float]]]) -> dict[str, object]:
    """Return curves over the same steps; where one has no value there is none."""
    steps = sorted({step for points in series.values() for step, _ in points})
    values = {name: dict(points) for name, points in series.items()}
    return {
        "steps": steps,
        "series": [
            {"name": name, "values": [found.get(step) for step in steps]}
            for name, found in values.items()
        ],
    }


def _spread(infos: Sequence[CheckpointInfo], most: int) -> list[CheckpointInfo]:
    """Return checkpoints at even distances where they are too many; tagged ones always."""
    stride = -(-len(infos) // most)
    return [info for i, info in enumerate(infos) if info.tags or i % stride == 0]
