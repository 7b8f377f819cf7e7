"""A comparison of strategies as one page of HTML with a plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.effectiveness import charts
from holdfast.markup.pieces import note, section, table
from holdfast.pages.page import page
from holdfast.wording.numbers import duration_text, share_text

if TYPE_CHECKING:
    from holdfast.effectiveness.comparing import Outcome
    from holdfast.effectiveness.scenario import Scenario


def simulate_page(outcomes: Sequence[Outcome], scenario: Scenario, histories: int) -> str:
    """Return the page of a comparison."""
    rows = [
        charts.Range(
            outcome.name,
            outcome.ettr.p05,
            outcome.ettr.p25,
            outcome.ettr.p50,
            outcome.ettr.p75,
            outcome.ettr.p95,
            share_text(outcome.ettr.mean),
        )
        for outcome in outcomes
    ]
    # One that is far worse would press the others together; it ends at the left edge.
    best = max(outcome.ettr.mean for outcome in outcomes)
    near = [outcome for outcome in outcomes if outcome.ettr.mean > best / 2]
    lowest = math.floor(min(outcome.ettr.p05 for outcome in near) * 20) / 20
    time_bars = [
        charts.Bar(
            outcome.name,
            (outcome.paid_s.mean, outcome.lost_s.mean, outcome.restarting_s.mean),
            duration_text(outcome.paid_s.mean + outcome.lost_s.mean + outcome.restarting_s.mean),
        )
        for outcome in near
    ]
    lead = f"{histories:,} histories, a failure every {duration_text(scenario.mtbf_s)} on average"
    return page(
        "Strategies tried on a model of failures",
        lead,
        [
            section(
                "Useful share of the time (ETTR)",
                charts.ranges(rows, lowest, 1.0, title="ETTR by strategy"),
                note("From 5 % to 95 % of histories, the middle half, the median; and the mean."),
            ),
            section(
                "Where the rest went",
                charts.bars(time_bars, title="Time not useful by strategy"),
                charts.legend(["saves", "work lost", "restarting and queueing"]),
            ),
            section("Figures", _figures(outcomes)),
        ],
    )


def _figures(outcomes: Sequence[Outcome]) -> str:
    titles = ["strategy", "interval", "ETTR", "5 %", "95 %", "failures", "saves"]
    return table(
        titles,
        [
            [
                outcome.name,
                duration_text(outcome.interval_s),
                share_text(outcome.ettr.mean),
                share_text(outcome.ettr.p05),
                share_text(outcome.ettr.p95),
                f"{outcome.n_failures:,.1f}",
                f"{outcome.n_saves:,.0f}",
            ]
            for outcome in outcomes
        ],
    )
