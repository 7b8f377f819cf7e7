"""``holdfast report``: what checkpointing has cost a run, and what it has saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, output, tables
from holdfast.cli.tables import Cell, Column, Styled
from holdfast.wording.numbers import bytes_text, duration_text, minute_text, plural, share_text

if TYPE_CHECKING:
    from holdfast.effectiveness.report import Distribution, Report

EXAMPLE = "holdfast --store ckpts report gpt2-small --html report.html"

_BAR_CELLS, _LEAST_BAR_CELLS = 40, 4
_SHOWN = 12


def report(
    context: typer.Context,
    run: options.Run,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write one page with plots, by itself."),
    ] = None,
    prometheus: Annotated[
        Path | None,
        typer.Option("--prometheus", metavar="FILE", help="Write metrics for Prometheus."),
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option("--tensorboard", metavar="DIR", help="Add scalars to TensorBoard's logs."),
    ] = None,
    budget_gb: Annotated[
        float | None,
        typer.Option(metavar="GB", help="What checkpoints may take; tells the share in use."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Show where the wall-clock of a run went, its interruptions, and what saves cost."""
    budget_bytes = options.bytes_of(budget_gb, "--budget-gb")
    found = options.open_store(context).report(run, budget_bytes=budget_bytes)
    if html is not None:
        from holdfast.pages.report import report_page

        html.write_text(report_page(found), encoding="utf-8")
    if prometheus is not None:
        from holdfast.effectiveness.prometheus import prometheus_text

        prometheus.write_text(prometheus_text(found), encoding="utf-8")
    if tensorboard is not None:
        from holdfast.effectiveness.tensorboard import write_report

        write_report(found, tensorboard)
    if as_json:
        output.result_json(found)
        return 0
    _show(found)
    for file in (html, prometheus, tensorboard):
        if file is not None:
            output.say(f"written: {file}")
    return 0


def _show(found: Report) -> None:
    clock = found.wall_clock
    output.say(
        Styled(f"ETTR {share_text(found.ettr)}", "bold"),
        f"  useful time ÷ {duration_text(clock.total_s)} of wall-clock, "
        f"in {plural(found.n_processes, 'process')}",
    )
    output.say()
    _show_shares(found)
    output.say()
    output.facts(_facts(found))
    if found.interruptions:
        output.say()
        _show_interruptions(found)
    if found.alternatives:
        output.say()
        _show_alternatives(found)
    for doubt in found.doubts:
        output.say(Styled("doubt  ", "yellow"), doubt)
    if found.is_open:
        output.say("The end of the newest process is not recorded: it may be training still.")


def _show_shares(found: Report) -> None:
    whole = found.wall_clock.total_s or 1.0
    shares = found.wall_clock.shares_s
    rows: list[list[Cell]] = [
        [n, duration_text(s), share_text(s / whole)] for n, s in shares.items()
    ]
    columns = [Column("wall-clock"), Column("", right=True), Column("", right=True)]
    room = output.stdout().width - tables.natural_width(columns, rows) - tables.GAP
    if room >= _LEAST_BAR_CELLS:
        columns.append(Column(""))
        for row, (name, seconds) in zip(rows, shares.items(), strict=True):
            style = "green" if name == "useful" else "yellow"
            row.append(Styled(_bar(seconds / whole, min(room, _BAR_CELLS)), style))
    output.table(columns, rows)


def _bar(share: float, cells: int) -> str:
    full = "█" if output.speaks_unicode() else "#"
    return full * (max(round(share * cells), 1) if share > 0.0 else 0)


def _facts(found: Report) -> list[tuple[str, Cell]]:
    saves = f"{found.n_saves:,} durable"
    saves += f", {found.n_failed:,} failed" if found.n_failed else ""
    saves += f", {found.n_skipped:,} skipped" if found.n_skipped else ""
    pairs: list[tuple[str, Cell]] = [
        ("steps", f"{found.steps:,} that count, {found.steps_twice:,} done twice"),
        (
            "goodput",
            f"{found.steps_per_hour:,.0f} steps/h of {found.possible_steps_per_hour:,.0f} possible",
        ),
        ("saves", saves),
        ("they cost", f"{share_text(found.overhead)} of training"),
    ]
    for name, times in (
        ("loop held", found.held_s),
        ("durable after", found.durable_s),
        ("restore", found.restore_s),
    ):
        if times.n:
            pairs.append((name, distribution_text(times)))
    if found.restore_wanted_bytes:
        read, wanted = found.restore_read_bytes, found.restore_wanted_bytes
        pairs.append(("restores read", f"{bytes_text(read)} for {bytes_text(wanted)} of arrays"))
    if found.n_saves:
        stored = bytes_text(found.stored_bytes)
        pairs.append(("state", f"{bytes_text(found.state_bytes)}; {stored} written in all"))
    if found.holdings.kept:
        pairs.append(("in the store", _holdings_text(found)))
    return pairs


def _holdings_text(found: Report) -> str:
    holdings = found.holdings
    newest = holdings.kept[-1]
    words = (
        f"{plural(holdings.n_kept, 'checkpoint')}, {bytes_text(holdings.used_bytes)} together; the "
        f"newest needs {bytes_text(newest.needed_bytes)}, "
        f"{bytes_text(newest.alone_bytes)} of it alone"
    )
    if found.budget_share is not None:
        words += f"; {share_text(found.budget_share)} of the budget"
    return words


def distribution_text(times: Distribution) -> str:
    """Return the median, 95th percentile and highest of some durations."""
    assert times.p50 is not None and times.p95 is not None and times.highest is not None
    parts = (("median", times.p50), ("95 %", times.p95), ("highest", times.highest))
    return ", ".join(f"{name} {duration_text(value)}" for name, value in parts)


def _show_interruptions(found: Report) -> None:
    columns = [
        Column("interrupted"),
        Column("how", may_wrap=True),
        Column("at step", right=True),
        Column("went on from", right=True),
        Column("lost", right=True),
        Column("", right=True),
        Column("down", right=True),
        Column("restore", right=True),
    ]
    newest = found.interruptions[-_SHOWN:]
    rows = [
        [
            minute_text(item.at_ns),
            item.how,
            str(item.reached),
            "" if item.back_to is None else str(item.back_to),
            plural(item.lost_steps, "step"),
            duration_text(item.lost_s) if item.lost_steps else "",
            duration_text(item.down_s),
            duration_text(item.restored_s),
        ]
        for item in newest
    ]
    output.table(columns, rows)
    if len(found.interruptions) > _SHOWN:
        output.say(f"… and {len(found.interruptions) - _SHOWN:,} before these")


def _show_alternatives(found: Report) -> None:
    columns = [
        Column("the same history with", may_wrap=True),
        Column("interval", right=True),
        Column("saves cost", right=True),
        Column("lost", right=True),
        Column("together", right=True),
    ]
    rows = [
        [
            item.name,
            duration_text(item.interval_s),
            duration_text(item.paid_s),
            duration_text(item.lost_s),
            duration_text(item.cost_s),
        ]
        for item in found.alternatives
    ]
    output.table(columns, rows)
