"""What pages ask of a run again and again, read anew only when something has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

from holdfast.effectiveness.report import Report
from holdfast.errors import NotFound
from holdfast.history import graph
from holdfast.history.info import CheckpointInfo, LeafInfo
from holdfast.history.lineage import Branch, ancestors
from holdfast.history.log import RunLog
from holdfast.history.run_picture import RunPicture, picture_of
from holdfast.history.runs_picture import RunsPicture, runs_picture_of
from holdfast.policy.curve import Curve
from holdfast.policy.finding import Finding
from holdfast.web.site import Site
from holdfast.web.work import Task
from holdfast.wording.numbers import mode_of

T = TypeVar("T")
# How long what changes without a new checkpoint is shown as it was.
_STALE_S = 30


def lineage_of(site: Site) -> Sequence[Branch]:
    """Return all runs, each below the one that it was forked from."""
    if not site.store.place.is_there:
        return []
    return _kept(site, ("lineage",), None, site.store.lineage)


def sizes_of(site: Site) -> Mapping[str, int]:
    """Return the bytes that each run has stored."""
    if not site.store.place.is_there:
        return {}
    return _kept(
        site,
        # A sweep that comes later gives bytes back though nothing is listed anew.
        ("sizes", int(time.monotonic() / _STALE_S)),
        None,
        lambda: {run: site.store.stored_bytes(run) for run in site.store.runs()},
    )


def stored_in(site: Site) -> int:
    """Return the bytes that the whole store has stored, what runs share once."""
    if not site.store.place.is_there:
        return 0
    return _kept(site, ("stored", int(time.monotonic() / _STALE_S)), None, site.store.stored_bytes)


def history_of(site: Site, run: str) -> RunLog:
    """Return a run's checkpoints, damage and notes."""
    return _kept(site, ("history", run), run, lambda: site.store.history(run))


def graph_of(site: Site, run: str) -> Mapping[str, tuple[str, str]]:
    """Return, by id, each checkpoint's piece of the lineage, and the ref that it went on from.

    None where each only follows the one before.
    """

    def look() -> Mapping[str, tuple[str, str]]:
        infos = history_of(site, run).checkpoints
        nodes = ancestors(infos)
        refs = {info.id: info.ref for info in infos}
        lines = reversed(graph.drawn(nodes))
        found = zip(nodes, lines, strict=False)
        return {name: (line, refs.get(parent or "", "")) for (name, parent), line in found}

    return _kept(site, ("graph", run), run, look)


def ref_of(site: Site, info: CheckpointInfo) -> str:
    """Return a ref of a checkpoint: by its step, if no later save has the same step."""

    def look() -> Mapping[int, str]:
        return {c.step: c.id for c in history_of(site, info.run).checkpoints}

    newest = _kept(site, ("newest of a step", info.run), info.run, look)
    return info.ref if newest.get(info.step, info.id) == info.id else info.exact_ref


def curves_of(site: Site, run: str) -> Mapping[str, Curve]:
    """Return the metrics of a run as curves."""
    return _kept(site, ("curves", run), run, lambda: site.store.curves(run))


def picture_of_run(site: Site, run: str) -> RunPicture:
    """Return the panels of a run; one without metrics has none."""

    def look() -> RunPicture:
        curves, log = curves_of(site, run), history_of(site, run).checkpoints
        try:
            return picture_of(run, curves, log, [], mode_of)
        except NotFound:
            return RunPicture(run, (), tuple(info.step for info in log))

    return _kept(site, ("picture", run), run, look)


def picture_of_runs(site: Site, runs: Sequence[str]) -> RunsPicture:
    """Return the panels of several runs: each metric with a curve for each run."""
    curves = {run: curves_of(site, run) for run in runs}
    logs = {run: history_of(site, run).checkpoints for run in runs}
    return runs_picture_of(curves, logs, [], mode_of)


def report_of(site: Site, run: str) -> Task[Report]:
    """Return the report on a run, done or under way: a long journal takes seconds."""
    name = ("report", run, int(time.monotonic() / _STALE_S), pulse_of(site, run))
    return site.work.task(name, lambda progress: site.store.report(run))


def findings_of(site: Site, run: str) -> Sequence[Finding]:
    """Return what goes wrong in a run, as its metrics tell."""
    return [finding for panel in picture_of_run(site, run).panels for finding in panel.findings]


def leaves_of(site: Site, info: CheckpointInfo) -> list[LeafInfo]:
    """Return the leaves of a checkpoint, which never change."""
    return site.work.answer(("leaves", info.id), lambda: site.store.leaves(info.exact_ref))


def pulse_of(site: Site, run: str | None) -> str:
    """Return a text that changes when there is something new in a run, or in the store."""
    return site.pulses.of(run)


def _kept(site: Site, name: tuple[Hashable, ...], run: str | None, look: Callable[[], T]) -> T:
    return site.work.answer((*name, pulse_of(site, run)), look)
