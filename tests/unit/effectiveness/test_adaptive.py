"""``adaptive``: as good as the best fixed interval known afterwards, and steady."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from holdfast import adaptive, every, on
from holdfast.effectiveness.adaptive import STEADY, failures_of
from holdfast.effectiveness.attempt import attempted
from holdfast.effectiveness.strategy import Strategy
from holdfast.engine import schedule as schedule_module
from holdfast.engine.schedule import Schedule
from holdfast.errors import UsageError
from holdfast.policy.moment import Costs, Failures, Moment, Past
from holdfast.policy.when import SavePolicy
from holdfast.testing.memory import MemoryStore

HOUR_S, STEP_S, RESTART_S = 3600.0, 60.0, 120.0
WALL_S = 6 * 24 * HOUR_S


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def useful_share(
    policy: SavePolicy, failures_s: list[float], costs: Costs, monkeypatch: pytest.MonkeyPatch
) -> float:
    """Train with the engine's own schedule under failures at some times; a clock of its own."""
    clock = Clock()
    monkeypatch.setattr(schedule_module, "time", clock)
    done = saved = n_failed = 0
    step = -1
    for end_s in [*failures_s, WALL_S]:
        schedule = Schedule(policy, MemoryStore(), "r")
        schedule.failures = Failures(n_failed, clock.now_s)
        measured: list[Costs] = [costs] if saved else []
        schedule.measure = lambda m=measured: m[0] if m else None  # type: ignore[misc]
        if step >= 0:
            schedule.restart(step)
        durable: list[tuple[float, int]] = []
        while clock.now_s + STEP_S <= end_s:
            clock.now_s += STEP_S
            step += 1
            if schedule.due(step, None, None, clock.now_s, ()).reason:
                clock.now_s += costs.held_s
                schedule.note_save(step)
                durable.append((clock.now_s + costs.durable_s, step))
                measured[:] = [costs]
        if end_s < WALL_S:
            n_failed += 1
            saved = max([s for at, s in durable if at <= end_s], default=saved)
            step = saved
            clock.now_s = end_s + RESTART_S
        else:
            done = step
    return done * STEP_S / WALL_S


def best_fixed(failures_s: list[float], costs: Costs) -> tuple[float, float]:
    """The useful share at the best of many fixed intervals, and at the worst."""
    begins = np.array([0.0, *(t + RESTART_S for t in failures_s)])
    lasted_s = np.array([*failures_s, WALL_S]) - begins
    shares = []
    for interval_s in np.geomspace(60.0, 4 * HOUR_S, 40):
        strategy = Strategy("fixed", float(interval_s), costs.paid_s, lag_s=costs.durable_s)
        came_to = attempted(np.maximum(lasted_s, 0.0), strategy)
        secured_s = np.minimum(came_to.n_durable * interval_s, came_to.worked_s)
        shares.append((secured_s[:-1].sum() + came_to.worked_s[-1]) / WALL_S)
    return max(shares), min(shares)


def apart(gaps_s: Iterable[float]) -> list[float]:
    times = np.cumsum(list(gaps_s))
    return [float(t) for t in times if t < WALL_S - HOUR_S]


def _patterns() -> dict[str, list[float]]:
    rng = np.random.default_rng(5)
    return {
        "exponential": apart(rng.exponential(4 * HOUR_S, 60)),
        "infant mortality": apart(rng.weibull(0.6, 80) * 3 * HOUR_S + RESTART_S + STEP_S),
        "in groups": apart(
            gap_s
            for _ in range(12)
            for gap_s in (rng.normal(10, 1) * HOUR_S, *(RESTART_S + rng.exponential(900.0, 3)))
        ),
        # Not to the second, as no scheduler is: a fixed interval could have been known afterwards
        # whose saves all came just in time.
        "on schedule": apart(6 * HOUR_S + rng.normal(0.0, 1200.0, 24)),
        "more and more": apart(np.geomspace(20 * HOUR_S, 0.7 * HOUR_S, 40)),
        "never": [],
    }


PATTERNS = _patterns()


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("costs", [Costs(2.0, durable_s=30.0), Costs(25.0)], ids=["async", "slow"])
def test_it_is_as_good_as_the_best_fixed_interval(
    pattern: str, costs: Costs, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures_s = PATTERNS[pattern]
    best, worst = best_fixed(failures_s, costs)
    live = useful_share(adaptive(max_overhead=0.2), failures_s, costs, monkeypatch)
    assert live >= best * 0.98
    assert live > worst


def test_the_fixed_intervals_that_it_is_held_against_are_real(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs, failures_s = Costs(25.0), PATTERNS["exponential"]
    best, _ = best_fixed(failures_s, costs)
    stepped = [useful_share(every(minutes=m), failures_s, costs, monkeypatch) for m in (10, 20, 40)]
    assert max(stepped) == pytest.approx(best, abs=0.01)


# --- steady, bounded ---


def past(costs: Costs | None, interval_s: float | None = None, **other: Any) -> Past:
    facts: dict[str, Any] = {"start_step": -1, "start_epoch": None, "start_time_s": 0.0}
    facts |= {"seen_step": 0, "seen_epoch": None, "saved_step": None, "saved_time_s": None}
    return Past(**{**facts, "best": {}, "costs": costs, "interval_s": interval_s, **other})


def at(time_s: float) -> Moment:
    return Moment(1, None, {}, time_s)


def test_an_interval_stays_until_it_is_off_by_a_fifth() -> None:
    policy = adaptive(max_overhead=0.5, mtbf_hours=10)
    first = policy.interval_s(at(0.0), past(Costs(10.0)))
    assert first is not None
    near = policy.interval_s(at(0.0), past(Costs(10.0 * 1.3), first))
    assert near == first
    far = policy.interval_s(at(0.0), past(Costs(10.0 * 1.6), first))
    assert far is not None and far > first * (1 + STEADY)


def test_noise_in_the_costs_does_not_move_it() -> None:
    policy = adaptive(max_overhead=0.5, mtbf_hours=10)
    rng = np.random.default_rng(0)
    interval_s, seen = None, set()
    for _ in range(500):
        costs = Costs(float(10.0 * rng.uniform(0.85, 1.15)))
        interval_s = policy.interval_s(at(0.0), past(costs, interval_s))
        seen.add(interval_s)
    assert len(seen) <= 2


def test_saves_cost_no_more_than_they_may() -> None:
    policy = adaptive(max_overhead=0.01, mtbf_hours=0.1)
    interval_s = policy.interval_s(at(0.0), past(Costs(10.0)))
    assert interval_s == pytest.approx(990.0)
    assert policy.due(at(989.0), past(Costs(10.0))) == ()
    assert policy.due(at(991.0), past(Costs(10.0))) == ("adaptive, every 990 s",)


def test_failures_make_it_shorter_and_quiet_makes_it_longer() -> None:
    policy = adaptive(max_overhead=0.5)

    def interval_s(**facts: Any) -> float:
        found = policy.interval_s(at(facts.pop("now", 0.0)), past(Costs(10.0), **facts))
        assert found is not None
        return found

    usual = interval_s()
    assert interval_s(failures=Failures(10, 10 * HOUR_S)) < usual < interval_s(now=1e7)


def test_it_combines_with_other_policies() -> None:
    policy = adaptive(mtbf_hours=10) | every(steps=100) | on.signal()
    assert policy.is_adaptive and not every(steps=3).is_adaptive
    assert policy.interval_s(at(0.0), past(Costs(10.0))) is not None
    assert every(steps=3).interval_s(at(0.0), past(None)) is None
    assert policy.due(Moment(100, None, {}, 1.0), past(Costs(1.0))) == ("every 100 steps",)


def test_what_it_is_asked_for_must_make_sense() -> None:
    wrong: list[Callable[[], object]] = [
        lambda: adaptive(max_overhead=0.0),
        lambda: adaptive(max_overhead=1.0),
        lambda: adaptive(mtbf_hours=-1.0),
    ]
    for call in wrong:
        with pytest.raises(UsageError, match="adaptive"):
            call()


def test_a_journal_that_is_not_there_is_no_failure() -> None:
    assert failures_of(MemoryStore(), "r") == Failures()
