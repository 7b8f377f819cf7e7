"""How the metric that says most of a run went, in a line, for those who watch on a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.cli import output
from holdfast.wording.numbers import metric_text

if TYPE_CHECKING:
    from holdfast.history.info import CheckpointInfo
    from holdfast.history.lineage import Branch
    from holdfast.repository import Store

_COLUMNS_IN_TABLE, _COLUMNS_ALONE = 12, 40
# Reading more of them would be waited for, for an ornament.
_MOST_CHECKPOINTS = 2000


def of_runs(store: Store, branches: Sequence[Branch]) -> dict[str, str]:
    """Return the curve of each run that has one; none where nobody watches."""
    from holdfast.cli.charts import spark

    count = sum(branch.summary.n_checkpoints for branch in branches)
    if not _is_watched() or count > _MOST_CHECKPOINTS:
        return {}
    found = {branch.run: _main_curve(store.log(branch.run)) for branch in branches}
    return {
        run: f"{spark(values, _COLUMNS_IN_TABLE)} {name}"
        for run, (name, values) in found.items()
        if values
    }


def line(infos: Sequence[CheckpointInfo]) -> str:
    """Return the curve of a run with its ends; nothing where there is none or nobody watches."""
    from holdfast.cli.charts import spark

    name, values = _main_curve(infos) if _is_watched() else ("", [])
    if not values:
        return ""
    ends = f"{metric_text(values[0])} → {metric_text(values[-1])}"
    room = output.stdout().width - len(name) - len(ends) - 2
    drawn = spark(values, min(_COLUMNS_ALONE, room)) if room > 1 else ""
    return f"{name} {drawn} {ends}" if drawn else ""


def _is_watched() -> bool:
    return output.stdout().is_terminal and output.speaks_unicode()


def _main_curve(infos: Sequence[CheckpointInfo]) -> tuple[str, list[float]]:
    from holdfast.history.sparkline import main_metric
    from holdfast.policy.curve import curves_of

    curves = curves_of((info.step, info.metrics) for info in infos)
    name = main_metric(curves)
    values = [v for v in curves[name].values if math.isfinite(v)] if name is not None else []
    return (name, values) if name is not None and len(values) > 1 else ("", [])
