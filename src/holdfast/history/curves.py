"""The metrics of a run as curves over its steps."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.history import catalog
from holdfast.history.info import CheckpointInfo
from holdfast.history.known import require_run
from holdfast.history.metrics import MetricsLog, read_metrics
from holdfast.policy.curve import Curve, curves_of
from holdfast.store.contract import ObjectStore


def curves(store: ObjectStore, run: str) -> dict[str, Curve]:
    """Return the curve of each metric, by name, in order of appearance.

    They are those of every step that was logged; and those of checkpoints that nothing was logged
    for, as ``holdfast.save`` makes them. Where a run went back to an earlier step, what it did
    again counts.

    Raises:
        NotFound: There is no such run.
    """
    require_run(store, run)
    log = read_metrics(store, run)
    infos = [c for c in catalog.checkpoints(store, run) if isinstance(c, CheckpointInfo)]
    unlogged = _unlogged(infos, log)
    found = curves_of([(info.step, info.metrics) for info in unlogged])
    logged = {name: _logged(log, name) for name in log.names}
    names = dict.fromkeys([*logged, *found])
    return {name: merged(logged.get(name), found.get(name)) for name in names}


def merged(first: Curve | None, second: Curve | None) -> Curve:
    """Return two curves as one; where both have a step, the first one counts.

    >>> merged(Curve([1, 3], [0.1, 0.3]), Curve([2, 3], [0.2, 9.0]))
    Curve(steps=[1, 2, 3], values=[0.1, 0.2, 0.3])
    """
    empty = Curve([], [])
    first, second = first or empty, second or empty
    if not len(first) or not len(second):
        return first if len(first) else second
    points = dict(zip(second.steps, second.values, strict=True))
    points |= dict(zip(first.steps, first.values, strict=True))
    steps = sorted(points)
    return Curve(steps, [points[step] for step in steps])


def _unlogged(infos: Sequence[CheckpointInfo], log: MetricsLog) -> list[CheckpointInfo]:
    """Return the checkpoints that the log knows nothing of: it was lost, or there was none."""
    known, steps = set(log.incarnation_ids), set(log.steps.tolist())
    return [i for i in infos if i.incarnation not in known or i.step not in steps]


def _logged(log: MetricsLog, name: str) -> Curve:
    steps, values = log.series(name)
    return Curve(steps.tolist(), values.tolist())
