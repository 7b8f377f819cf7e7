"""Several runs on one page: the same metrics over one another, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from holdfast.history.best import Best, judged_bests
from holdfast.history.facts import rows_of
from holdfast.history.runs_picture import check_runs
from holdfast.history.summary import RunSummary, summary_of
from holdfast.web.history import history_of
from holdfast.web.site import page, site_of
from holdfast.web.views.query import several

# Metrics in the table, and facts below it: more are in the charts, and on the pages of the runs.
_MOST_METRICS, _MOST_FACTS = 6, 100


@dataclass(frozen=True, slots=True)
class Column:
    """A run beside others."""

    run: str
    summary: RunSummary
    bests: dict[str, Best]

    @property
    def facts(self) -> dict[str, object]:
        """What its newest checkpoint was made with."""
        latest = self.summary.latest
        return {} if latest is None else {"data set": latest.dataset, **(latest.config or {})}

    @property
    def environment(self) -> dict[str, object]:
        """Where its newest checkpoint was made."""
        return dict(self.summary.latest.environment) if self.summary.latest else {}


def together(request: Request) -> Response:
    """Show several runs side by side."""
    site, runs = site_of(request), check_runs(several(request, "run"))
    columns = []
    for run in runs:
        history = history_of(site, run)
        summary = summary_of(history.checkpoints, history.damaged)
        columns.append(Column(run, summary, {b.metric: b for b in judged_bests(summary)}))
    metrics = list(dict.fromkeys(name for column in columns for name in column.bests))
    apart = {
        "Configuration": rows_of([column.facts for column in columns]),
        "Environment": rows_of([column.environment for column in columns]),
    }
    return page(
        request,
        "together.html",
        runs=runs,
        columns=columns,
        metrics=metrics[:_MOST_METRICS],
        best_of={name: _winner(columns, name) for name in metrics},
        apart={title: [row for row in rows if not row.is_same] for title, rows in apart.items()},
        most=_MOST_FACTS,
    )


def _winner(columns: list[Column], metric: str) -> str:
    """Return the run that has the best value of a metric."""
    found = {column.run: column.bests[metric] for column in columns if metric in column.bests}
    sign = -1 if next(iter(found.values())).highest else 1
    return min(found, key=lambda run: sign * found[run].value)
