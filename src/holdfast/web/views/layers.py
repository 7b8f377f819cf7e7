"""How the layers of a run moved from checkpoint to checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from holdfast.errors import ChunkDamaged, ChunkMissing, ManifestDamaged, SealBroken
from holdfast.history.diff.report import DiffReport
from holdfast.history.heat import heat_of_layers
from holdfast.history.info import CheckpointInfo
from holdfast.history.layers import LayersOverTime, layers_over_time, newest_line
from holdfast.repository import Store
from holdfast.web.history import history_of
from holdfast.web.site import page, site_of
from holdfast.web.views.query import number, required

Compare = Callable[[CheckpointInfo, CheckpointInfo], DiffReport]
_PATIENCE_S = 0.4
_DAMAGE = (ChunkDamaged, ChunkMissing, ManifestDamaged, SealBroken)


def layers(request: Request) -> Response:
    """Show the movement of each layer over some checkpoints of a run, or how far that is."""
    site, run = site_of(request), required(request, "run")
    glob = request.query_params.get("glob") or "**"
    depth, most = number(request, "depth", 3, 1, 12), number(request, "columns", 12, 2, 60)
    line = _spread(newest_line(list(history_of(site, run).checkpoints)), most)
    facts: dict[str, Any] = {"run": run, "glob": glob, "depth": depth, "columns": most}
    if len(line) < 2:
        return page(request, "layers.html", heat=None, shown=None, damaged=[], **facts)
    name = ("layers", run, glob, depth, tuple(info.id for info in line))
    task = site.work.task(
        name,
        lambda progress: _of_whole_ones(
            site.store,
            line,
            lambda a, b: site.store.diff(a.ref, b.ref, only=glob, progress=progress),
            lambda whole, compare: layers_over_time(run, whole, compare, depth),
        ),
    )
    if not task.wait(_PATIENCE_S):
        return page(request, "working.html", title=f"Layers of {run}", task=task)
    shown, damaged = task.answer()
    heat = heat_of_layers(shown) if shown is not None else None
    return page(request, "layers.html", heat=heat, shown=shown, damaged=damaged, **facts)


def _of_whole_ones(
    store: Store,
    line: list[CheckpointInfo],
    compare: Compare,
    look: Callable[[list[CheckpointInfo], Compare], LayersOverTime],
) -> tuple[LayersOverTime | None, list[str]]:
    """Return the movement over those that are not damaged, None for fewer than two; what was."""
    known: dict[tuple[str, str], DiffReport] = {}

    def compare_once(a: CheckpointInfo, b: CheckpointInfo) -> DiffReport:
        if (a.id, b.id) not in known:
            known[a.id, b.id] = compare(a, b)
        return known[a.id, b.id]

    whole, damaged = list(line), list[str]()
    while len(whole) > 1:
        try:
            return look(whole, compare_once), damaged
        except _DAMAGE as error:
            named = error.facts.get("ref")
            bad = {info.id for info in whole if info.ref == named}
            # What has no manifest is not named: the first that has none is the one.
            bad = bad or set(_without_leaves(store, whole)[:1])
            if not bad:
                raise
            damaged.append(error.message)
            whole = [info for info in whole if info.id not in bad]
    return None, damaged


def _without_leaves(store: Store, infos: list[CheckpointInfo]) -> list[str]:
    """Return the ids of those whose manifest cannot be read."""
    found: list[str] = []
    for info in infos:
        try:
            store.leaves(info.ref)
        except _DAMAGE:
            found.append(info.id)
    return found


def _spread(line: list[CheckpointInfo], most: int) -> list[CheckpointInfo]:
    """Return so many checkpoints at even distances, the first and the newest among them."""
    if len(line) <= most:
        return line
    return [line[round(i * (len(line) - 1) / (most - 1))] for i in range(most)]
