"""``holdfast log``: the runs of a store, or the checkpoints of a run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import checkpoints, lineage, options, output
from holdfast.cli.numbers import age_text, bytes_text, metric_text, plural
from holdfast.cli.tables import Column, Styled, visible, without_empty

if TYPE_CHECKING:
    from holdfast.history.info import CheckpointInfo

EXAMPLE = "holdfast --store ckpts log gpt2-small"

# More metrics than these make one column together.
_METRIC_COLUMNS = 4


def log(
    context: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="The run; without it, all runs are listed."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """List the runs, or the checkpoints of one run, newest first."""
    store = options.open_store(context)
    if run is not None:
        newest_first = list(reversed(store.log(run)))
        damaged = checkpoints.damaged(store, run)
        if as_json:
            shown = [checkpoints.as_json(info) for info in newest_first]
            output.result_json(
                {"store": store.path, "run": run, "checkpoints": shown, "damaged": damaged}
            )
        else:
            _show_run(run, newest_first, checkpoints.bytes_on_disk(store, run))
            _show_damaged(run, damaged)
        return 0
    runs = {name: store.log(name) for name in store.runs()}
    sizes = {name: checkpoints.bytes_on_disk(store, name) for name in runs}
    damaged_in = {name: checkpoints.damaged(store, name) for name in runs}
    if as_json:
        shown = [
            _run_json(name, saved, sizes[name], damaged_in[name]) for name, saved in runs.items()
        ]
        output.result_json({"store": store.path, "runs": shown})
    elif runs:
        _show_runs(runs, sizes)
        for name, damaged in damaged_in.items():
            _show_damaged(name, damaged)
    else:
        output.say(f"No runs in {store.path} yet: the first save makes one.")
    return 0


def _show_runs(runs: dict[str, list[CheckpointInfo]], sizes: dict[str, int]) -> None:
    columns = [
        Column("run", style="bold", may_wrap=True),
        Column("checkpoints", right=True),
        Column("latest", right=True),
        Column("best", may_wrap=True),
        Column("stored", right=True),
        Column("saved"),
    ]
    now = datetime.now(UTC)
    output.table(columns, [_run_row(name, saved, sizes[name], now) for name, saved in runs.items()])


def _run_row(
    name: str, saved: Sequence[CheckpointInfo], stored_bytes: int, now: datetime
) -> list[str]:
    if not saved:
        return [name, "0", "", "", bytes_text(stored_bytes), ""]
    latest = saved[-1]
    return [
        name,
        f"{len(saved):,}",
        f"@{latest.step}",
        checkpoints.bests_text(checkpoints.bests(saved)),
        bytes_text(stored_bytes),
        age_text(latest.created, now),
    ]


def _run_json(
    name: str, saved: Sequence[CheckpointInfo], stored_bytes: int, damaged: Sequence[str]
) -> dict[str, object]:
    return {
        "run": name,
        "n_checkpoints": len(saved),
        "stored_bytes": stored_bytes,
        "best": checkpoints.bests_json(saved),
        "latest": checkpoints.as_json(saved[-1]) if saved else None,
        "damaged": damaged,
    }


def _show_run(run: str, newest_first: Sequence[CheckpointInfo], stored_bytes: int) -> None:
    if not newest_first:
        output.say(f"No checkpoints in run {run} yet.")
        return
    names = checkpoints.metric_names(newest_first)
    apart = _columns(names), _rows(newest_first, names)
    together = _columns(None), _rows(newest_first, None)
    one_each = len(names) <= _METRIC_COLUMNS and output.fits(*apart)
    output.table(*without_empty(*(apart if one_each else together)))
    output.say()
    best = checkpoints.bests_text(checkpoints.bests(newest_first))
    summary = f"{plural(len(newest_first), 'checkpoint')}, {bytes_text(stored_bytes)} stored"
    output.say(f"{summary}; best: {best}" if best else summary)


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
        Column("state", right=True),
        Column("new", right=True),
        Column("reason", may_wrap=True),
    ]


def _rows(newest_first: Sequence[CheckpointInfo], metrics: Sequence[str] | None) -> list[list[str]]:
    now = datetime.now(UTC)
    return [
        [
            line,
            str(info.step),
            age_text(info.created, now),
            *_metric_cells(info, metrics),
            ", ".join(info.tags),
            checkpoints.trust_text(info),
            bytes_text(info.state_bytes),
            bytes_text(info.stored_bytes),
            info.reason,
        ]
        for line, info in zip(_graph(newest_first), newest_first, strict=True)
    ]


def _graph(newest_first: Sequence[CheckpointInfo]) -> list[str]:
    """Return each row's piece of the lineage; nothing where each only follows the one before."""
    glyphs = lineage.UNICODE if output.speaks_unicode() else lineage.ASCII
    lines = lineage.draw([(info.id, info.parent) for info in newest_first], glyphs)
    return lines if any(line != glyphs.node for line in lines) else [""] * len(lines)


def _metric_cells(info: CheckpointInfo, metrics: Sequence[str] | None) -> list[str]:
    if metrics is None:
        return [checkpoints.metrics_text(info.metrics)]
    return [metric_text(info.metrics[name]) if name in info.metrics else "" for name in metrics]
