"""A report as one page of HTML with plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.effectiveness import charts
from holdfast.markup.pieces import figures, note, section, table
from holdfast.pages.page import page
from holdfast.wording.numbers import bytes_text, duration_text, minute_text, plural, share_text

if TYPE_CHECKING:
    from holdfast.effectiveness.report import Report

# A page of ten thousand rows is read by nobody.
_MOST_KEPT = 100


def report_page(report: Report) -> str:
    """Return the page of a report."""
    lead = f"{plural(report.n_processes, 'process')}, {duration_text(report.wall_clock.total_s)}"
    return page(f"Effectiveness of {report.run}", lead, report_sections(report))


def report_sections(report: Report) -> list[str]:
    """Return what the page of a report consists of, each as HTML."""
    return [
        figures(_figures(report)),
        *(note(doubt, doubt=True) for doubt in report.doubts),
        _time(report),
        _interruptions(report),
        _alternatives(report),
        _saves(report),
        _steps(report),
        _storage(report),
        _kept(report),
        note(
            "ETTR is the time of steps that still count, at the pace of undisturbed ones, divided "
            "by the wall-clock from the first process to the last sign of life of the newest. "
            "Goodput is steps that count for each hour of it."
        ),
    ]


def _figures(report: Report) -> list[tuple[str, str]]:
    return [
        ("ETTR", share_text(report.ettr)),
        ("steps that count", f"{report.steps:,}"),
        ("steps done twice", f"{report.steps_twice:,}"),
        ("steps an hour", f"{report.steps_per_hour:,.0f}"),
        ("of training goes into saves", share_text(report.overhead)),
    ]


def _time(report: Report) -> str:
    clock = report.wall_clock
    shares = list(clock.shares_s.items())
    whole = clock.total_s or 1.0
    rows = [[name, duration_text(s), share_text(s / whole)] for name, s in shares]
    return section(
        "Where the wall-clock went",
        charts.stacked(shares, title="Shares of the wall-clock"),
        charts.legend([name for name, _ in shares]),
        table(["", "time", "share"], rows),
    )


def _interruptions(report: Report) -> str:
    if not report.interruptions:
        return section("Interruptions", note("None."))
    rows = [
        [
            minute_text(item.at_ns),
            item.how,
            f"{item.reached:,}",
            "" if item.back_to is None else f"{item.back_to:,}",
            f"{item.lost_steps:,}",
            duration_text(item.lost_s),
            duration_text(item.down_s),
            duration_text(item.restored_s),
        ]
        for item in report.interruptions
    ]
    titles = ["when (UTC)", "how", "at step", "went on from", "steps lost", "", "down", "restore"]
    return section("Interruptions", table(titles, rows, text_columns=2))


def _alternatives(report: Report) -> str:
    if not report.alternatives:
        return ""
    rows = [
        charts.Bar(item.name, (item.paid_s, item.lost_s), duration_text(item.cost_s))
        for item in report.alternatives
    ]
    return section(
        "What other strategies would have cost in the same history",
        charts.bars(rows, title="Cost of strategies"),
        charts.legend(["saves", "work lost"]),
    )


def _saves(report: Report) -> str:
    named = (
        ("loop held", report.held_s),
        ("snapshot taken in", report.snapshot_s),
        ("queued", report.queued_s),
        ("persisted in", report.persist_s),
        ("durable after", report.durable_s),
        ("restored in", report.restore_s),
    )
    rows = [
        [
            name,
            f"{times.n:,}",
            *(
                "" if value is None else duration_text(value)
                for value in (times.mean, times.p50, times.p95, times.highest)
            ),
        ]
        for name, times in named
    ]
    told = f"{report.n_saves:,} became durable, {report.n_failed:,} failed, "
    told += f"{report.n_skipped:,} were skipped."
    if report.restore_wanted_bytes:
        read, wanted = bytes_text(report.restore_read_bytes), report.restore_wanted_bytes
        told += f" Restores read {read} of the store for {bytes_text(wanted)} of arrays."
    return section(
        "Saves and restores",
        note(told),
        table(["", "how many", "mean", "median", "95 %", "highest"], rows),
    )


def _steps(report: Report) -> str:
    lengths = report.step_lengths
    if not lengths:
        return ""
    heights = [float(length.count) for length in lengths]
    labels = [duration_text(length.from_s) for length in lengths]
    return section("How long steps took", charts.columns(heights, labels, title="Step lengths"))


def _storage(report: Report) -> str:
    if len(report.storage) < 2:
        return ""
    points = [(point.at_ns / 1e9, float(point.nbytes)) for point in report.storage]
    return section(
        "Storage",
        charts.stairs(
            points,
            lowest="0",
            highest=bytes_text(max(point.nbytes for point in report.storage)),
            ends=(minute_text(report.storage[0].at_ns), minute_text(report.storage[-1].at_ns)),
            title="Stored bytes over time",
        ),
    )


def _kept(report: Report) -> str:
    holdings = report.holdings
    if not holdings.kept:
        return ""
    rows = [
        [f"{kept.step:,}", bytes_text(kept.needed_bytes), bytes_text(kept.alone_bytes)]
        for kept in holdings.kept[-_MOST_KEPT:]
    ]
    told = f"{plural(holdings.n_kept, 'checkpoint')}, {bytes_text(holdings.used_bytes)} together"
    if report.budget_share is not None:
        told += f", {share_text(report.budget_share)} of the budget"
    told += ". What several need is there once."
    if len(holdings.kept) > _MOST_KEPT:
        told += f" The newest {_MOST_KEPT} of them:"
    return section(
        "Checkpoints in the store",
        note(told),
        table(["step", "needs", "alone"], rows, text_columns=0),
    )
