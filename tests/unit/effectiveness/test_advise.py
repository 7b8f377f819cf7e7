"""Advice: near the simulated optimum over a grid of costs and failures, and honest about bounds."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from histories import Script

from holdfast.effectiveness.advise import Measured, advise, measured_in
from holdfast.effectiveness.advise_tiers import Copies, copies_in
from holdfast.effectiveness.comparing import ettr_at
from holdfast.effectiveness.failures import Exponential
from holdfast.effectiveness.lives import lives_of
from holdfast.effectiveness.simulate import Job
from holdfast.effectiveness.strategy import Strategy
from holdfast.errors import NoHistory, UsageError
from holdfast.policy.moment import Costs

HOUR_S = 3600.0


def measured(held_s: float = 10.0, mtbf_s: float = 3 * HOUR_S, **other: Any) -> Measured:
    """A run that has failed so often that its rate is known."""
    costs = Costs(held_s, durable_s=other.pop("durable_s", 0.0))
    known = Measured(
        costs,
        restart_s=300.0,
        step_s=2.0,
        stored_bytes=10**9,
        used_interval_s=HOUR_S,
        failures=400,
        watched_s=400 * mtbf_s,
    )
    return dataclasses.replace(known, **other)


@pytest.mark.parametrize("held_s", [0.5, 10.0, 120.0])
@pytest.mark.parametrize("mtbf_s", [HOUR_S, 12 * HOUR_S])
@pytest.mark.parametrize("durable_s", [0.0, 90.0])
def test_advice_loses_hardly_more_than_the_simulated_optimum(
    held_s: float, mtbf_s: float, durable_s: float
) -> None:
    advised_s = advise(measured(held_s, mtbf_s, durable_s=durable_s)).interval_s
    strategy = Strategy("s", 1.0, held_s, lag_s=durable_s, restart_s=300.0)
    job = Job(Exponential(mtbf_s), wall_s=100 * mtbf_s)
    # No interval is possible that is shorter than the store takes.
    tried = np.geomspace(max(advised_s / 6, durable_s + held_s), advised_s * 6, 15)
    loss = 1.0 - ettr_at(job, strategy, advised_s, 200, 7)
    best = min(1.0 - ettr_at(job, strategy, float(s), 200, 7) for s in tried)
    assert loss <= 1.05 * best


def test_the_formulas_and_the_simulation_agree() -> None:
    found = advise(measured())
    assert found.daly_s == pytest.approx(found.exact_s, rel=0.01)
    assert found.simulated_s == pytest.approx(found.exact_s, rel=0.25)
    assert found.interval_s == found.exact_s and found.bounded_by is None
    assert found.steps == round(found.interval_s / 2.0)
    assert found.mtbf_low_s < found.mtbf_s < found.mtbf_high_s
    assert found.used is not None and found.used.ettr.mean < found.advised.ettr.mean
    assert found.stored_bytes_per_day == pytest.approx(86400e9 / (found.interval_s + 10.0))


def test_few_failures_make_wide_intervals_and_wide_expectations() -> None:
    few = advise(measured(failures=1, watched_s=10 * HOUR_S))
    assert few.mtbf_high_s / few.mtbf_low_s > 5
    many = advise(measured(mtbf_s=few.mtbf_s))
    assert many.mtbf_high_s / many.mtbf_low_s < 1.2
    width = [found.advised.ettr.p95 - found.advised.ettr.p05 for found in (few, many)]
    assert width[0] > 1.5 * width[1]


def test_what_bounds_the_interval_is_said() -> None:
    disk = advise(measured(held_s=0.1, durable_s=600.0))
    assert (disk.interval_s, disk.bounded_by) == (pytest.approx(600.1), "disk")
    share = advise(measured(), max_overhead=0.001)
    assert (share.interval_s, share.bounded_by) == (pytest.approx(9990.0), "overhead")
    held = advise(measured(), budget_bytes=5 * 10**9)
    assert held.fitting == 5
    assert held.filled_s == pytest.approx(5 * (held.interval_s + 10.0))


def test_a_budget_that_must_last_allows_no_more_saves_than_it_has_room_for() -> None:
    lasting = {"budget_bytes": 30 * 10**9, "train_hours": 50.0}
    found = advise(measured(used_bytes=10 * 10**9), **lasting)
    assert (found.coming, found.bounded_by) == (20, "budget")
    assert 20 * (found.interval_s + 10.0) == pytest.approx(50 * HOUR_S)
    assert found.filled_s == pytest.approx(50 * HOUR_S)
    assert found.advised.ettr.mean < advise(measured()).advised.ettr.mean
    # Where it removes what is old, more saves take no more room; a short training has few.
    free = advise(measured()).interval_s
    assert advise(measured(removes=True), **lasting).interval_s == free
    assert advise(measured(), **{**lasting, "train_hours": 1.0}).interval_s == free
    # Nothing fits any more: there is no interval that would help.
    full = advise(measured(used_bytes=30 * 10**9), **lasting)
    assert (full.coming, full.interval_s, full.bounded_by) == (0, free, None)


def test_memory_is_filled_as_often_as_the_copy_alone_allows() -> None:
    # At home a save is slow to become durable; in memory it is there with the copy.
    [memory] = advise(measured(held_s=0.1, durable_s=600.0)).tiers
    assert (memory.tier, memory.takes_s) == ("memory", 0.1)
    assert memory.interval_s == pytest.approx(math.sqrt(2 * 0.1 * 3 * HOUR_S), rel=0.02)
    assert memory.steps == round(memory.interval_s / 2.0)
    # Where home costs no more than that, memory gains nothing.
    assert advise(measured()).tiers == ()


def test_a_far_tier_gets_what_its_link_carries() -> None:
    drained = [
        {"event": "drained", "tier": "archive", "took_s": took_s} for took_s in (900.0, 1e3, 1.1e3)
    ]
    broken = [
        {"event": "drained", "tier": "archive", "took_s": None},
        {"event": "drain-failed", "tier": "archive"},
    ]
    copies = copies_in([*drained, *broken])
    assert copies == (Copies("archive", 3, 1000.0),)
    found = advise(measured(copies=copies))
    [far] = found.tiers
    # Home has one every 464 s and 10 s for the save: each third is the first that it is ready for.
    assert far.interval_s == pytest.approx(3 * found.interval_s)
    assert far.steps == round(far.interval_s / 2.0)
    [quick] = advise(measured(copies=(Copies("archive", 9, 1.0),))).tiers
    assert quick.interval_s == found.interval_s


def test_what_a_run_has_measured() -> None:
    script = Script()
    script.begin()
    script.train([2.0] * 10)
    script.save(held_s=0.5, durable_s=1.5, stored_bytes=100)
    script.end("died")
    script.pause(40.0)
    script.begin()
    script.pause(8.0)
    script.restore(9, 2.0)
    script.train([2.0] * 5)
    script.end("done")
    found = measured_in("r", lives_of(script.events, "r"))
    assert found.costs == Costs(0.5, 0.0, 1.5)
    assert (found.restart_s, found.step_s, found.stored_bytes) == (50.0, 2.0, 100)
    assert (found.failures, found.used_interval_s) == (1, 30.0)
    assert found.watched_s == pytest.approx(20.0 + 20.0)


def test_no_save_no_advice() -> None:
    script = Script()
    script.begin()
    script.train([1.0])
    script.end("done")
    with pytest.raises(NoHistory, match="no save"):
        measured_in("r", lives_of(script.events, "r"))
    with pytest.raises(UsageError, match="share"):
        advise(measured(), max_overhead=1.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mtbf_hours": -1.0},
        {"mtbf_hours": math.nan},
        {"budget_bytes": -5},
        {"budget_bytes": "5"},
        {"train_hours": 0.0, "budget_bytes": 5},
        {"train_hours": 5.0},
        {"max_overhead": "x"},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        advise(measured(), **wrong)


def test_a_run_that_saves_for_free_is_told_so() -> None:
    found = advise(measured(held_s=0.0, durable_s=3.0))
    assert found.interval_s == 3.0
    assert 0.9 < found.advised.ettr.mean < 1.0
    assert math.isfinite(found.simulated_s)
