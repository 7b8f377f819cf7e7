"""A report as HTML in a notebook: the figures that count, and where the time went."""

from __future__ import annotations

from holdfast.effectiveness.report import Report
from holdfast.markup.card import card, facts, listed, short
from holdfast.markup.pieces import table
from holdfast.wording.numbers import bytes_text, duration_text, plural, share_text


def report_card(report: Report) -> str:
    """Return a report at a glance; ``holdfast report --html`` makes the whole page."""
    clock = report.wall_clock
    whole = clock.total_s or 1.0
    shares = [[n, duration_text(s), share_text(s / whole)] for n, s in clock.shares_s.items()]
    return card(
        f"Effectiveness of {report.run}",
        f"<p>{plural(report.n_processes, 'process')}, {duration_text(clock.total_s)}</p>",
        facts(_figures(report)),
        table(["where the time went", "", ""], shares),
        listed("In doubt:", [short(doubt) for doubt in report.doubts], "doubt"),
    )


def _figures(report: Report) -> list[tuple[str, str]]:
    return [
        ("ETTR", share_text(report.ettr)),
        ("steps", f"{report.steps:,} that count, {report.steps_twice:,} done twice"),
        ("steps an hour", f"{report.steps_per_hour:,.0f}"),
        ("saves cost", f"{share_text(report.overhead)} of training"),
        ("saves", f"{report.n_saves:,} durable, {report.n_failed:,} failed"),
        ("interruptions", f"{len(report.interruptions):,}"),
        ("written in all", bytes_text(report.stored_bytes)),
    ]
