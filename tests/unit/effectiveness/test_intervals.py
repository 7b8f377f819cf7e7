"""Intervals by formula: against their sources, each other and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from holdfast.effectiveness import intervals
from holdfast.policy.moment import Costs

HOUR_S = 3600.0


def test_young_and_daly_are_what_their_papers_say() -> None:
    # Daly (2006), eq. 37, worked out by hand for a dump of 5 min and an MTBF of 6 h.
    assert intervals.young_s(300.0, 6 * HOUR_S) == pytest.approx(3600.0)
    ratio = 300.0 / (2 * 6 * HOUR_S)
    by_hand = 3600.0 * (1 + math.sqrt(ratio) / 3 + ratio / 9) - 300.0
    assert intervals.daly_s(300.0, 6 * HOUR_S) == pytest.approx(by_hand)
    assert intervals.daly_s(1000.0, 400.0) == 400.0


@pytest.mark.parametrize("cost_s", [0.1, 10.0, 600.0])
@pytest.mark.parametrize("mtbf_s", [HOUR_S, 30 * HOUR_S])
def test_the_best_is_the_highest_of_a_fine_grid(cost_s: float, mtbf_s: float) -> None:
    best_s = intervals.best_s(cost_s, mtbf_s)
    grid = np.geomspace(best_s / 3, best_s * 3, 4001)
    values = [intervals.ettr(float(s), cost_s, mtbf_s, restart_s=60.0, lag_s=5.0) for s in grid]
    assert best_s == pytest.approx(float(grid[int(np.argmax(values))]), rel=2e-3)
    assert intervals.daly_s(cost_s, mtbf_s) == pytest.approx(best_s, rel=0.01)


def test_the_published_figures() -> None:
    # arXiv 2410.21680: 1,500 nodes, 6.5 failures in 1,000 node-days, 5 min to restart.
    mtbf_s = 86400 / (1500 * 6.5e-3)
    for cost_s, published in ((10.0, 0.92), (60.0, 0.86), (300.0, 0.74)):
        interval_s = intervals.young_s(cost_s, mtbf_s)
        first_order = intervals.meta_ettr(interval_s, cost_s, mtbf_s, 300.0)
        exact = intervals.ettr(interval_s, cost_s, mtbf_s, restart_s=300.0)
        assert first_order == pytest.approx(published, abs=0.005)
        assert exact == pytest.approx(published, abs=0.01)


def test_free_saves_are_as_frequent_as_the_disk_allows() -> None:
    free = Costs(held_s=0.0, durable_s=8.0)
    assert intervals.bounded_s(free, HOUR_S, None) == 8.0
    assert intervals.bounded_s(free, HOUR_S, None, in_flight=2) == 4.0


def test_the_share_that_saves_may_cost_bounds_the_interval() -> None:
    costs = Costs(held_s=10.0)
    unbounded_s = intervals.bounded_s(costs, HOUR_S, None)
    assert intervals.bounded_s(costs, HOUR_S, 0.01) == pytest.approx(990.0)
    assert unbounded_s < 990.0
    assert intervals.bounded_s(costs, HOUR_S, 0.5) == unbounded_s


def test_an_attempt_that_cannot_end_gives_nothing() -> None:
    assert intervals.ettr(1e6, 10.0, 1.0) == 0.0


@pytest.mark.parametrize("mtbf_s", [600.0, 1.0, 1e-6])
def test_where_a_save_costs_far_more_than_lies_between_failures_there_is_a_best(
    mtbf_s: float,
) -> None:
    """The ETTR is then too small for a number: comparing it, the search did not end."""
    assert intervals.best_s(2000.0, mtbf_s) == pytest.approx(mtbf_s, rel=0.05)
