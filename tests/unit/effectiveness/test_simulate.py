"""The simulator: against closed forms, a replay event by event, and published figures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from holdfast.effectiveness import intervals
from holdfast.effectiveness.comparing import compare, simulated_best_s, usual_strategies
from holdfast.effectiveness.failures import (
    Exponential,
    FirstOf,
    Relapsing,
    Replayed,
    Scheduled,
    Uncertain,
    Weibull,
    by_nodes,
    replayed,
)
from holdfast.effectiveness.simulate import Histories, Job, simulate
from holdfast.effectiveness.strategy import (
    Saving,
    Strategy,
    Tier,
    blocking,
    in_background,
    survives,
)
from holdfast.errors import UsageError

HOUR_S, DAY_S = 3600.0, 86400.0
META = by_nodes(1500, 6.5e-3)


# --- against closed forms ---


def test_without_checkpoints_it_takes_exponentially_long() -> None:
    for work_s in (0.5 * HOUR_S, 2 * HOUR_S):
        job = Job(Exponential(HOUR_S), work_s=work_s)
        found = simulate(job, Strategy("none", math.inf, 0.0), count=100_000)
        expected_s = intervals.no_checkpoints_s(work_s, HOUR_S)
        assert found.wall_s.mean() == pytest.approx(expected_s, rel=0.01)
        assert np.allclose(found.useful_s, work_s)


@pytest.mark.parametrize("cost_s", [1.0, 60.0, 300.0])
@pytest.mark.parametrize("lag_s", [0.0, 200.0])
def test_the_useful_share_is_that_of_the_formula(cost_s: float, lag_s: float) -> None:
    mtbf_s = META.mtbf_s
    strategy = Strategy("s", 1200.0, cost_s, lag_s=lag_s, restart_s=300.0)
    found = simulate(Job(META, wall_s=54 * DAY_S), strategy, count=500)
    exact = intervals.ettr(1200.0, cost_s, mtbf_s, restart_s=300.0, lag_s=lag_s)
    assert found.ettr.mean() == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize(("cost_s", "published"), [(10.0, 0.92), (60.0, 0.86), (300.0, 0.74)])
def test_the_published_figures(cost_s: float, published: float) -> None:
    interval_s = intervals.young_s(cost_s, META.mtbf_s)
    strategy = Strategy("Meta", interval_s, cost_s, restart_s=300.0)
    found = simulate(Job(META, wall_s=54 * DAY_S), strategy, count=500)
    assert found.ettr.mean() == pytest.approx(published, abs=0.01)


def test_llama_3_would_have_failed_as_often_as_it_did() -> None:
    # 419 unexpected interruptions in 54 days.
    job = Job(Exponential(54 * DAY_S / 419), wall_s=54 * DAY_S)
    found = simulate(job, Strategy("s", 600.0, 1.0), count=500)
    assert found.n_failures.mean() == pytest.approx(419, rel=0.01)


def test_the_best_interval_is_found_by_simulation_too() -> None:
    job = Job(Exponential(3 * HOUR_S), wall_s=200 * HOUR_S)
    strategy = Strategy("s", 1.0, 30.0, restart_s=120.0)
    exact_s = intervals.best_s(30.0, 3 * HOUR_S)
    found_s = simulated_best_s(job, strategy, exact_s * 1.7, count=300)
    assert found_s == pytest.approx(exact_s, rel=0.15)


# --- against a replay, event by event ---


def replay_one(failures_s: list[float], wall_s: float, strategy: Strategy) -> tuple[float, ...]:
    """One history, walked through second by second of its plan; failures at absolute times."""
    now = useful = twice = paid = 0.0
    n_failures = 0
    pending = sorted(failures_s)
    while now < wall_s:
        end = min([t for t in pending if t > now] + [wall_s])
        failed = end < wall_s
        at = now + (strategy.restart_s if n_failures else 0.0)
        durable = worked = 0.0
        saves: list[tuple[float, float]] = []
        while at < end:
            step = min(strategy.interval_s, end - at)
            at, worked = at + step, worked + step
            if at >= end:
                break
            cost = min(strategy.cost_s, end - at)
            at, paid = at + cost, paid + cost
            if cost == strategy.cost_s:
                saves.append((at + strategy.lag_s, worked))
        durable = max([w for when, w in saves if when <= end], default=0.0)
        kept = durable if failed else worked
        useful, twice = useful + kept, twice + worked - kept
        n_failures += failed
        now = end
    return useful, twice, paid, float(n_failures)


@pytest.mark.parametrize("lag_s", [0.0, 30.0, 400.0])
def test_a_replay_event_by_event_comes_to_the_same(lag_s: float) -> None:
    rng = np.random.default_rng(3)
    strategy = Strategy("s", 97.0, 11.0, lag_s=lag_s, restart_s=50.0)
    for _ in range(20):
        at_s = [float(t) for t in rng.uniform(1.0, 9_000.0, 12)]
        model = Replayed(tuple(sorted(at_s)), 1e9)
        job = Job(_FromTheStart(model), wall_s=10_000.0)
        found = simulate(job, strategy, count=1)
        expected = replay_one(at_s, 10_000.0, strategy)
        came_to = (found.useful_s, found.twice_s, found.paid_s, found.n_failures)
        assert [float(v[0]) for v in came_to] == pytest.approx(list(expected), abs=1e-6)


class _FromTheStart:
    """A trace whose histories all begin with it."""

    def __init__(self, model: Replayed) -> None:
        self._model = model

    def begin(self, rng: np.random.Generator, count: int):
        drawing = self._model.begin(rng, count)
        drawing._offsets_s[:] = 0.0
        return drawing


def in_all(found: Histories) -> np.ndarray:
    return found.useful_s + found.twice_s + found.paid_s + found.restarting_s


@pytest.mark.parametrize(
    "strategy",
    [
        Strategy("plain", 500.0, 5.0, restart_s=60.0),
        Strategy("late", 500.0, 5.0, lag_s=900.0, restart_s=60.0),
        Strategy("spoiled", 500.0, 5.0, restart_s=60.0, spoiled=0.3, keep=2),
        Strategy("tier", 500.0, 5.0, 60.0, 60.0, tier=Tier(4, 0.7, 10.0, 1.0)),
        Strategy("noticed", 500.0, 5.0, restart_s=60.0, saves_on_notice=0.5),
        Strategy("none", math.inf, 0.0, restart_s=60.0),
    ],
    ids=lambda strategy: strategy.name,
)
def test_every_second_of_a_history_is_somewhere_once(strategy: Strategy) -> None:
    job = Job(Relapsing(Weibull(HOUR_S, 0.7), 0.3, 60.0), wall_s=DAY_S, queue_s=100.0)
    found = simulate(job, strategy, count=300)
    assert np.allclose(in_all(found), found.wall_s)
    assert np.allclose(found.wall_s, DAY_S)
    assert (found.useful_s >= 0.0).all() and (found.twice_s >= 0.0).all()


# --- strategies ---


def ettr(strategy: Strategy, job: Job | None = None) -> float:
    job = job or Job(Exponential(HOUR_S), wall_s=4 * DAY_S)
    return float(simulate(job, strategy, count=300).ettr.mean())


def test_a_tier_helps_as_far_as_it_survives() -> None:
    def tiered(outlives: float) -> float:
        tier = Tier(every=10, survives=outlives, restart_s=30.0)
        return ettr(Strategy("t", 120.0, 1.0, lag_s=60.0, restart_s=300.0, tier=tier))

    only_store = ettr(Strategy("s", 1200.0, 1.0, lag_s=60.0, restart_s=300.0))
    assert tiered(1.0) > tiered(0.5) > tiered(0.0)
    assert tiered(1.0) > only_store
    # A tier that never outlives a failure is the store alone.
    assert tiered(0.0) == pytest.approx(only_store, abs=0.02)
    assert survives(0.1, 3) == pytest.approx(0.999)


def test_each_so_many_th_goes_to_the_store_whichever_process_saves_it() -> None:
    # Three checkpoints in each 35 minutes: the sixth is made by the second process, if the tier has
    # outlived the failure between them. One in two does, so that 60 minutes take three processes.
    job = Job(Scheduled(35 * 60.0), wall_s=400 * DAY_S)
    tier = Tier(every=6, survives=0.5, restart_s=0.0)
    found = simulate(job, Strategy("t", 600.0, 0.0, tier=tier), count=20)
    assert found.ettr.mean() == pytest.approx(60.0 / (3 * 35.0), rel=0.01)


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0])
def test_nothing_fails_while_it_waits_in_the_queue(shape: float) -> None:
    # With saves that cost and lose nothing, work and waiting take turns: M / (M + Q).
    job = Job(Weibull(3 * HOUR_S, shape), wall_s=200 * DAY_S, queue_s=HOUR_S)
    found = simulate(job, Strategy("s", 1.0, 0.0), count=100)
    assert found.ettr.mean() == pytest.approx(0.75, abs=0.005)
    assert found.n_failures.mean() == pytest.approx(200 * 24 / 4, rel=0.02)


def test_damaged_checkpoints_cost_more_the_fewer_are_kept() -> None:
    def kept(keep: int) -> float:
        return ettr(Strategy("s", 300.0, 1.0, restart_s=60.0, spoiled=0.2, keep=keep))

    assert ettr(Strategy("s", 300.0, 1.0, restart_s=60.0)) > kept(5) > kept(2) > kept(1)
    # Without checkpoints, none can be damaged.
    with np.errstate(all="raise"):
        nothing = Strategy("n", math.inf, 0.0, restart_s=60.0)
        assert ettr(nothing) == ettr(replace(nothing, spoiled=0.2))


def test_notice_saves_what_would_be_lost() -> None:
    job = Job(Scheduled(HOUR_S), wall_s=DAY_S)
    without = Strategy("s", 1e9, 1.0)
    told = Strategy("s", 1e9, 1.0, saves_on_notice=1.0)
    # Without notice, only what was done since the last pre-emption stands.
    assert ettr(without, job) < 0.05
    assert ettr(told, job) == pytest.approx(1.0)


def test_costs_follow_from_state_and_machine() -> None:
    saving = Saving(1.5e9, copy_bps=15e9, store_bps=1e9, ratio=1.5, codec_bps=3e9)
    background = in_background("a", 600.0, saving, 60.0, slowed=0.1)
    assert (background.cost_s, background.lag_s) == (pytest.approx(0.2), pytest.approx(1.0))
    assert blocking("b", 600.0, saving, 60.0).cost_s == pytest.approx(1.1)
    assert background.stored_bytes == 1_000_000_000


def test_the_usual_strategies_are_compared_on_equal_terms() -> None:
    base = Strategy("", 600.0, 5.0, lag_s=60.0, restart_s=60.0, stored_bytes=10, keep=2)
    job = Job(Exponential(HOUR_S), wall_s=2 * DAY_S)
    found = compare(job, usual_strategies(base, HOUR_S, [1800.0]), count=200)
    by_name = {outcome.name: outcome for outcome in found}
    assert by_name["best"].ettr.mean > by_name["every hour"].ettr.mean
    assert by_name["best"].ettr.mean > by_name["best, but blocking"].ettr.mean
    assert by_name["no checkpoints"].stored_bytes == 0 and by_name["best"].stored_bytes == 20
    assert len({outcome.n_failures for outcome in found}) == 1
    spread = by_name["best"].ettr
    assert spread.p05 <= spread.p25 <= spread.p50 <= spread.p75 <= spread.p95


# --- models of failure ---


def lasts(model, started_s: float = 0.0, count: int = 20_000) -> np.ndarray:
    drawing = model.begin(np.random.default_rng(0), count)
    return drawing.lasts_s(np.arange(count), np.full(count, started_s))


def test_models_have_the_mean_that_they_say() -> None:
    assert lasts(Exponential(100.0)).mean() == pytest.approx(100.0, rel=0.03)
    infant = lasts(Weibull(100.0, 0.5))
    assert infant.mean() == pytest.approx(100.0, rel=0.05)
    # Infant mortality: far more in the first minutes than without.
    assert (infant < 5.0).mean() > 3 * (lasts(Exponential(100.0)) < 5.0).mean()
    assert lasts(by_nodes(8, 1 / 47.7 / 1)).mean() == pytest.approx(47.7 / 8 * DAY_S, rel=0.03)


def test_a_first_attempt_does_not_relapse_and_a_second_may() -> None:
    model = Relapsing(Exponential(1000.0), 1.0, 1.0)
    drawing = model.begin(np.random.default_rng(0), 5000)
    which, zeros = np.arange(5000), np.zeros(5000)
    assert drawing.lasts_s(which, zeros).mean() > 900
    assert drawing.lasts_s(which, zeros).mean() < 2


def test_scheduled_and_first_of() -> None:
    assert (lasts(Scheduled(3600.0), started_s=4000.0) == 3200.0).all()
    both = lasts(FirstOf((Exponential(1e9), Scheduled(3600.0))), started_s=100.0)
    assert np.allclose(both, 3500.0)


def test_a_trace_is_replayed_round() -> None:
    model = replayed([10.0, 30.0], 100.0)
    drawing = model.begin(np.random.default_rng(0), 1)
    drawing._offsets_s[:] = 0.0
    at = [float(drawing.lasts_s(np.array([0]), np.array([t]))[0]) for t in (0.0, 10.0, 30.0, 95.0)]
    assert at == [10.0, 20.0, 80.0, 15.0]
    with pytest.raises(UsageError, match="without a failure"):
        replayed([])
    with pytest.raises(UsageError, match="not within"):
        replayed([5.0], 2.0)


@pytest.mark.parametrize("every_h", [24 / 7, 24 / 11, 1.1, 8.3, 7.0])
def test_each_preemption_on_schedule_happens_once(every_h: float) -> None:
    # None of these is a number of seconds that sums of others meet exactly.
    job = Job(Scheduled(every_h * 3600.0), wall_s=54.3 * DAY_S)
    found = simulate(job, Strategy("s", 100.0, 1.0, restart_s=30.0), count=2)
    assert set(found.n_failures) == {float(int(54.3 * 24 / every_h))}


def test_each_failure_of_a_trace_happens_once_in_a_round() -> None:
    at_s = np.random.default_rng(0).uniform(0.0, 1e6 / 3, 97)
    for times in (at_s, [0.0, *at_s], [1e6 / 3, *at_s]):
        job = Job(replayed([float(t) for t in times], 1e6 / 3), wall_s=10 * 1e6 / 3)
        found = simulate(job, Strategy("s", 100.0, 1.0, restart_s=30.0), count=200)
        assert np.abs(found.n_failures - 10 * len(times)).max() <= 1


def test_what_is_uncertain_differs_from_history_to_history() -> None:
    drawn = lasts(Uncertain(np.array([1.0, 1e6])), count=1000)
    assert drawn[::2].mean() < 2 and drawn[1::2].mean() > 1e5


# --- bad input ---


def test_histories_without_an_end_are_refused() -> None:
    with pytest.raises(UsageError, match="without an end"):
        simulate(Job(Exponential(1.0)), Strategy("s", 1.0, 1.0))


def test_work_that_is_never_done_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.effectiveness.simulate.MAX_ATTEMPTS", 50)
    with pytest.raises(UsageError, match="2 of 2 histories"):
        simulate(Job(Exponential(1.0), work_s=1e6), Strategy("s", math.inf, 0.0), count=2)


@pytest.mark.parametrize("end", [{"wall_s": 1e12}, {"work_s": 1e12}])
def test_what_would_not_end_for_hours_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, end: dict[str, float]
) -> None:
    monkeypatch.setattr("holdfast.effectiveness.simulate.MAX_ATTEMPTS", 10**9)
    with pytest.raises(UsageError, match="fails before it gets anywhere"):
        simulate(Job(Exponential(1.0), **end), Strategy("s", 10.0, 0.1), count=2)


@pytest.mark.parametrize(
    "wrong", [{"cost_s": -1.0}, {"interval_s": 0.0}, {"lag_s": math.nan}, {"keep": 0}]
)
def test_strategies_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Strategy(**{"name": "s", "interval_s": 1.0, "cost_s": 1.0, **wrong})
