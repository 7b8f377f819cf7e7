"""The metrics of a run as curves over its steps."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.history.log import require_run
from holdfast.policy.curve import Curve, curve_of
from holdfast.records import commits
from holdfast.store.contract import ObjectStore


def curves(store: ObjectStore, run: str) -> dict[str, Curve]:
    """Return the curve of each metric, by name, in order of appearance.

    They are those of the checkpoints: what was given with each save. Where a run went back to an
    earlier step, what it did again counts.

    Raises:
        NotFound: There is no such run.
    """
    require_run(store, run)
    return curves_of([(r.step, r.metrics) for r in commits.good_commits(store, run)])


def curves_of(logged: list[tuple[int, Mapping[str, float]]]) -> dict[str, Curve]:
    """Return the curves of metrics that were logged in this order."""
    points: dict[str, list[tuple[int, float]]] = {}
    for step, metrics in logged:
        for name, value in metrics.items():
            points.setdefault(name, []).append((step, value))
    return {name: curve_of(found) for name, found in points.items()}
