"""``holdfast log``: the runs of a store, or the checkpoints of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import checkpoints, completion, options, output, trends
from holdfast.cli.tables import Cell, Column, Styled, without_empty
from holdfast.history import graph, telling
from holdfast.wording.numbers import age_text, bytes_text, metric_text, plural
from holdfast.wording.visible import visible

if TYPE_CHECKING:
    from holdfast.history.info import CheckpointInfo
    from holdfast.history.lineage import Branch
    from holdfast.history.log import RunLog
    from holdfast.history.summary import RunSummary
    from holdfast.records.journal import GivenBack
    from holdfast.repository import Store

EXAMPLE = "holdfast --store ckpts log gpt2-small"

# More metrics than these make one column together.
_METRIC_COLUMNS = 4


def log(
    context: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="The run; without it, all runs are listed.",
            autocompletion=completion.runs,
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """List the runs, or the checkpoints of one run, newest first."""
    store = options.open_store(context)
    if run is None:
        _log_runs(store, as_json)
    else:
        _log_run(store, run, as_json)
    return 0


def _bests_text(summary: RunSummary) -> str:
    from holdfast.history.best import bests

    return checkpoints.bests_text(bests(summary))


def _log_runs(store: Store, as_json: bool) -> None:
    branches = store.lineage()
    sizes = {branch.run: store.stored_bytes(branch.run) for branch in branches}
    if as_json:
        shown = [_run_json(branch, sizes[branch.run]) for branch in branches]
        output.result_json({"store": store.path, "runs": shown})
    elif branches:
        _show_runs(store, branches, sizes)
        for branch in branches:
            _show_set_back(branch.summary.set_back)
            _show_damaged(branch.run, branch.summary.damaged)
    else:
        output.say(f"No runs in {store.path} yet: the first save makes one.")


def _log_run(store: Store, run: str, as_json: bool) -> None:
    history = store.history(run)
    if as_json:
        shown = [checkpoints.as_json(info) for info in reversed(history.checkpoints)]
        output.result_json(
            {
                "store": store.path,
                "run": run,
                "checkpoints": shown,
                "damaged": history.damaged,
                "set_back": history.set_back,
                "given_back": store.given_back(run),
                "notes": history.written.texts,
                "values": history.written.values,
            }
        )
    else:
        _show_run(run, history, store.stored_bytes(run), store.given_back(run))
        _show_set_back(history.set_back)
        _show_damaged(run, history.damaged)


def _show_runs(store: Store, branches: Sequence[Branch], sizes: Mapping[str, int]) -> None:
    columns = [
        Column("run", style="bold", may_wrap=True),
        Column("forked from", may_wrap=True),
        Column("checkpoints", right=True),
        Column("latest", right=True),
        Column("best", may_wrap=True),
        Column("stored", right=True),
        Column("saved"),
    ]
    now = datetime.now(UTC)
    lines = graph.tree([branch.depth for branch in branches], _glyphs())
    rows = [
        _run_row(line, branch, sizes[branch.run], now)
        for line, branch in zip(lines, branches, strict=True)
    ]
    curves = trends.of_runs(store, branches)
    drawn = [[*row, curves.get(branch.run, "")] for row, branch in zip(rows, branches, strict=True)]
    with_curves = without_empty([*columns, Column("trend", style="cyan")], drawn)
    has_room = bool(curves) and output.fits(*with_curves)
    output.table(*(with_curves if has_room else without_empty(columns, rows)))


def _run_row(line: str, branch: Branch, stored_bytes: int, now: datetime) -> list[str]:
    summary, origin = branch.summary, branch.forked_from
    latest = summary.latest
    return [
        line + branch.run,
        origin.ref if origin is not None else "",
        f"{summary.n_checkpoints:,}",
        f"@{latest.step}" if latest is not None else "",
        _bests_text(summary),
        bytes_text(stored_bytes),
        age_text(latest.created, now) if latest is not None else "",
    ]


def _run_json(branch: Branch, stored_bytes: int) -> dict[str, object]:
    summary = branch.summary
    return {
        "run": branch.run,
        "forked_from": branch.forked_from,
        "depth": branch.depth,
        "n_checkpoints": summary.n_checkpoints,
        "stored_bytes": stored_bytes,
        "best": checkpoints.bests_json(summary),
        "latest": checkpoints.as_json(summary.latest) if summary.latest is not None else None,
        "damaged": summary.damaged,
        "set_back": summary.set_back,
    }


def _show_run(run: str, history: RunLog, stored_bytes: int, given_back: GivenBack) -> None:
    if not history.checkpoints:
        output.say(f"No checkpoints in run {run} yet.")
        return
    names = telling.metric_names(history.checkpoints)
    apart = _columns(names), _rows(history.checkpoints, names)
    together = _columns(None), _rows(history.checkpoints, None)
    one_each = len(names) <= _METRIC_COLUMNS and output.fits(*without_empty(*apart))
    output.table(*without_empty(*(apart if one_each else together)))
    output.say()
    _show_about(history, stored_bytes, given_back)


def _show_about(history: RunLog, stored_bytes: int, given_back: GivenBack) -> None:
    from holdfast.history.summary import summary_of

    best = _bests_text(summary_of(history.checkpoints))
    stored = f"{plural(len(history.checkpoints), 'checkpoint')}, {bytes_text(stored_bytes)} stored"
    output.say(f"{stored}; best: {best}" if best else stored)
    trend = trends.line(history.checkpoints)
    if trend:
        output.say(trend)
    if given_back.n_checkpoints:
        removed = plural(given_back.n_checkpoints, "checkpoint")
        output.say(f"{removed} removed so far, {bytes_text(given_back.nbytes)} freed")
    origin = history.checkpoints[-1].forked_from
    if origin is not None:
        output.say("forked from ", Styled(origin.ref, "bold"), f" ({origin.id})")
    written = telling.notes_text(history.written.texts, history.written.values)
    if written:
        output.say(f"notes: {written}")


def _show_set_back(problem: str | None) -> None:
    if problem is not None:
        output.say(Styled("set back", "bold red"), f"  {problem} Nothing of it is used")


def _show_damaged(run: str, damaged: Sequence[str]) -> None:
    if damaged:
        output.say(
            Styled("unreadable", "bold red"),
            f"  {plural(len(damaged), 'checkpoint')} of {run} cannot be read and "
            f"{'is' if len(damaged) == 1 else 'are'} not listed: see 'holdfast verify {run}'",
        )


def _columns(metrics: Sequence[str] | None) -> list[Column]:
    """Return the columns; without names of metrics, these share one column."""
    own = [Column(visible(name), right=True) for name in metrics or ()]
    return [
        Column("", style="cyan"),
        Column("step", right=True, style="bold"),
        Column("saved"),
        *(own if metrics is not None else [Column("metrics", may_wrap=True)]),
        Column("tags", may_wrap=True, style="yellow"),
        Column("trust", may_wrap=True),
        Column("not finite", right=True),
        Column("state", right=True),
        Column("new", right=True),
        Column("reason", may_wrap=True),
        Column("notes", may_wrap=True),
    ]


def _rows(infos: Sequence[CheckpointInfo], metrics: Sequence[str] | None) -> list[list[Cell]]:
    """Return the rows of a run's checkpoints, given oldest first; the newest comes first."""
    now = datetime.now(UTC)
    return [
        [
            line,
            str(info.step),
            age_text(info.created, now),
            *_metric_cells(info, metrics),
            ", ".join(info.tags),
            telling.trust_text(info),
            checkpoints.finite_text(info),
            bytes_text(info.state_bytes),
            bytes_text(info.stored_bytes),
            info.reason,
            telling.notes_text(info.notes, info.values),
        ]
        for line, info in zip(_graph(infos), reversed(infos), strict=True)
    ]


def _graph(infos: Sequence[CheckpointInfo]) -> list[str]:
    """Return each row's piece of the lineage; nothing where each only follows the one before."""
    from holdfast.history.lineage import ancestors

    return graph.drawn(ancestors(infos), _glyphs()) or [""] * len(infos)


def _glyphs() -> graph.Glyphs:
    return graph.UNICODE if output.speaks_unicode() else graph.ASCII


def _metric_cells(info: CheckpointInfo, metrics: Sequence[str] | None) -> list[Cell]:
    if metrics is None:
        return [telling.metrics_text(info.metrics)]
    return [metric_text(info.metrics[name]) if name in info.metrics else "" for name in metrics]
