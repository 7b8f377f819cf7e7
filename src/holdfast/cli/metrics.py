"""``holdfast metrics``: what a run has logged at every step, saved or not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, output
from holdfast.cli.tables import Column
from holdfast.errors import NotFound
from holdfast.wording.numbers import age_text, metric_text, plural
from holdfast.wording.visible import visible

if TYPE_CHECKING:
    from holdfast.history.metrics import MetricsLog

EXAMPLE = "holdfast --store ckpts metrics gpt2-small --metric val_loss --last 20"

_SHOWN_ON_TERMINAL = 40


def metrics(
    context: typer.Context,
    run: options.Run,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="Only this metric; more than once for more."),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Show the last N steps.",
            show_default=f"{_SHOWN_ON_TERMINAL} on a terminal, else all",
        ),
    ] = None,
    superseded: Annotated[
        bool,
        typer.Option("--superseded", help="Show steps, too, that were done again after a resume."),
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Show the metrics of every logged step, oldest first."""
    store = options.open_store(context)
    log = store.metrics(run)
    names = _chosen(log, metric, run)
    rows = _rows(log, names, superseded=superseded)
    if last is None and not as_json and output.stdout().is_terminal:
        last = _SHOWN_ON_TERMINAL
    shown = rows[-last:] if last is not None else rows
    if as_json:
        output.result_json(_as_json(run, log, names, shown))
    elif not rows:
        output.say(f"Run {run} has logged no metrics.")
        if any(info.metrics for info in store.log(run)):
            output.say(f"Those that checkpoints were saved with: 'holdfast log {run}'.")
    else:
        _show(log, names, shown, superseded=superseded)
        if len(shown) < len(rows):
            output.say(f"{plural(len(rows) - len(shown), 'row')} before these: see --last.")
    return 0


def _chosen(log: MetricsLog, wanted: Sequence[str] | None, run: str) -> list[str]:
    for name in wanted or []:
        if name not in log.names:
            known = ", ".join(log.names) or "none"
            raise NotFound(
                f"Run {run} has logged no metric '{name}'. Metrics there: {known}.",
                run=run,
                metric=name,
            )
    return list(dict.fromkeys(wanted)) if wanted else log.names


def _rows(log: MetricsLog, names: Sequence[str], *, superseded: bool) -> list[int]:
    """Return the rows to show: those that count, or all, if they have one of the metrics."""
    has = {int(row) for name in names for row in log.rows_of(name)}
    return [row for row in sorted(has) if superseded or log.counts[row]]


def _show(log: MetricsLog, names: Sequence[str], rows: Sequence[int], *, superseded: bool) -> None:
    columns = [
        Column("step", right=True, style="bold"),
        Column("logged"),
        *(Column(visible(name), right=True) for name in names),
        *([Column("")] if superseded else []),
    ]
    now = datetime.now(UTC)
    has = {name: {int(row) for row in log.rows_of(name)} for name in names}
    cells = [
        [
            str(log.steps[row]),
            age_text(_time(log, row), now),
            *(metric_text(log.values[n][row]) if row in has[n] else "" for n in names),
            *([("" if log.counts[row] else "superseded")] if superseded else []),
        ]
        for row in rows
    ]
    output.table(columns, cells)


def _as_json(
    run: str, log: MetricsLog, names: Sequence[str], rows: Sequence[int]
) -> dict[str, object]:
    has = {name: {int(row) for row in log.rows_of(name)} for name in names}
    return {
        "run": run,
        "steps": [int(log.steps[row]) for row in rows],
        "times": [_time(log, row) for row in rows],
        "incarnations": [log.incarnation_of(row) for row in rows],
        "counts": [bool(log.counts[row]) for row in rows],
        # Null: not logged at that step.
        "metrics": {
            name: [float(log.values[name][row]) if row in has[name] else None for row in rows]
            for name in names
        },
    }


def _time(log: MetricsLog, row: int) -> datetime:
    return datetime.fromtimestamp(int(log.times[row].astype("int64")) / 1e9, UTC)
