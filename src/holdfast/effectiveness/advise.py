"""How often a run should save: by formulas and by simulation, on its own costs and failures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, median

import numpy as np

from holdfast.effectiveness import belief, intervals
from holdfast.effectiveness.adaptive import seen_in
from holdfast.effectiveness.advise_tiers import Copies, TierAdvice, advise_tiers, copies_in
from holdfast.effectiveness.alternatives import costs_of_lives, used_interval_s
from holdfast.effectiveness.budget import lasting_s, room_in
from holdfast.effectiveness.comparing import Spread, simulated_best_s, spread
from holdfast.effectiveness.failures import Uncertain
from holdfast.effectiveness.lives import Life, lives_of
from holdfast.effectiveness.simulate import Job, simulate
from holdfast.effectiveness.strategy import Strategy
from holdfast.effectiveness.wall_clock import down_s
from holdfast.errors import NoHistory, UsageError
from holdfast.history.stock import Stock
from holdfast.policy.checks import positive_number
from holdfast.policy.moment import Costs, Failures
from holdfast.records import journal
from holdfast.store.contract import ObjectStore

# Where nothing was seen to fail: about what it takes to start a process and restore.
_ASSUMED_RESTART_S = 60.0
_HISTORIES = 2_000
_SEARCHED = 300
_INTERVALS_SIMULATED = 200
_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What advice is made from.

    Attributes:
        costs: What a save costs.
        restart_s: From a failure until training went on, on average.
        step_s: What a step takes while nothing is saved.
        stored_bytes: What a save adds to the store.
        used_interval_s: Training for a save, as it was; infinite without saves.
        failures: How often the run has failed.
        watched_s: How long it was watched.
        copies: What copies to far tiers have taken.
        used_bytes: What the checkpoints that are kept take.
        removes: Whether the run removes checkpoints by itself: more saves take no more room then.
    """

    costs: Costs
    restart_s: float
    step_s: float
    stored_bytes: int
    used_interval_s: float
    failures: int
    watched_s: float
    copies: tuple[Copies, ...] = ()
    used_bytes: int = 0
    removes: bool = False


@dataclass(frozen=True, slots=True)
class Expected:
    """What an interval is expected to give, over what is believed of the failures."""

    interval_s: float
    ettr: Spread


@dataclass(frozen=True, slots=True)
class Advice:
    """An interval, and why.

    Attributes:
        measured: What it is made from.
        prior_shape, prior_watched_s: The prior: as if so many failures had been seen in that time.
        mtbf_s: Mean time between failures that is believed: at the mean rate.
        mtbf_low_s, mtbf_high_s: It is between these with a probability of 0.9.
        young_s, daly_s, exact_s, simulated_s: The interval by each way.
        interval_s: The interval to use.
        bounded_by: What keeps it from being shorter: ``disk``, ``overhead``, ``budget``; or None.
        steps: The interval in steps.
        advised: What it is expected to give.
        used: What the interval in use is expected to give; None without saves.
        stored_bytes_per_day: What is written in a day of training.
        fitting: How many checkpoints fit into the budget; None without one.
        filled_s: After how much time of training the budget is used up, where nothing is removed.
        coming: How many saves the rest of the budget has room for, where nothing is removed.
        tiers: How often to save in memory, and in the far tiers that the run has used.
    """

    measured: Measured
    prior_shape: float
    prior_watched_s: float
    mtbf_s: float
    mtbf_low_s: float
    mtbf_high_s: float
    young_s: float
    daly_s: float
    exact_s: float
    simulated_s: float
    interval_s: float
    bounded_by: str | None
    steps: int
    advised: Expected
    used: Expected | None
    stored_bytes_per_day: float
    fitting: int | None
    filled_s: float | None = None
    coming: int | None = None
    tiers: tuple[TierAdvice, ...] = ()


def read_advice(
    store: ObjectStore,
    run: str,
    *,
    mtbf_hours: float | None = None,
    max_overhead: float | None = None,
    budget_bytes: int | None = None,
    train_hours: float | None = None,
) -> Advice:
    """Return advice for a run.

    Args:
        store: Where the run is.
        run: Its name.
        mtbf_hours: What is expected of failures; it weighs as much as one that was seen.
        max_overhead: The share of the time that saves may cost.
        budget_bytes: What checkpoints may take.
        train_hours: For how long it is still to train. Where nothing is removed, all that is saved
            in that time shall fit into the budget.

    Raises:
        NoHistory: No save of the run has been measured.
        UsageError: A number cannot be, or there are hours and no budget.
    """
    events = journal.events(store, run)
    measured = replace(
        measured_in(run, lives_of(events, run)),
        copies=copies_in(events),
        used_bytes=0 if budget_bytes is None else Stock(store, run).nbytes,
        removes=bool(journal.kept_by(store, run)),
    )
    return advise(
        measured,
        mtbf_hours=mtbf_hours,
        max_overhead=max_overhead,
        budget_bytes=budget_bytes,
        train_hours=train_hours,
    )


def measured_in(run: str, lives: Sequence[Life]) -> Measured:
    """Return what some lives have measured.

    Raises:
        NoHistory: No save or no step was measured.
    """
    costs = costs_of_lives(lives, median)
    n_steps = sum(life.counted.n_quiet + life.counted.n_busy for life in lives)
    if costs is None or not n_steps:
        raise NoHistory(
            f"Run {run!r} has no {'save' if costs is None else 'step'} in its recorded history, so "
            "that nobody knows what one costs. Let it train with a Checkpointer and save a few "
            "times; 'holdfast simulate' works without a run.",
            run=run,
        )
    seen = seen_in(list(lives))
    return Measured(
        costs,
        _restart_s(lives),
        sum(life.counted.quiet_s + life.counted.busy_s for life in lives) / n_steps,
        round(fmean(save.stored_bytes for life in lives for save in life.saves)),
        used_interval_s(lives),
        seen.count,
        seen.watched_s,
    )


def _restart_s(lives: Sequence[Life]) -> float:
    """Return the mean time from a failure until the first step after it could begin."""
    seen = [
        down_s(before, after) + max(after.counted.ready_s - after.began_s, 0.0)
        for before, after in pairwise(lives)
        if before.has_failed
    ]
    return fmean(seen) if seen else _ASSUMED_RESTART_S


def advise(
    measured: Measured,
    *,
    mtbf_hours: float | None = None,
    max_overhead: float | None = None,
    budget_bytes: int | None = None,
    train_hours: float | None = None,
    seed: int = 0,
) -> Advice:
    """Return advice from what was measured; see ``read_advice``.

    Raises:
        UsageError: The overhead is no share, or hours or budget cannot be.
    """
    if train_hours is not None and budget_bytes is None:
        raise UsageError("train_hours says what a budget must last for: give budget_bytes, too.")
    if max_overhead is not None and positive_number("max_overhead", max_overhead) >= 1.0:
        raise UsageError(f"max_overhead is {max_overhead!r}; it is a share between 0 and 1.")
    if mtbf_hours is not None:
        positive_number("advise(mtbf_hours=…)", mtbf_hours)
    if budget_bytes is not None:
        positive_number("budget_bytes", budget_bytes)
    if train_hours is not None:
        positive_number("train_hours", train_hours)
    before = belief.prior(None if mtbf_hours is None else mtbf_hours * belief.HOUR_S)
    believed = belief.posterior(before, Failures(measured.failures, measured.watched_s))
    mtbf_s, costs = believed.mean_mtbf_s, measured.costs
    exact_s = intervals.best_s(costs.paid_s, mtbf_s)
    unbudgeted_s = intervals.bounded_s(costs, mtbf_s, max_overhead)
    interval_s, room = unbudgeted_s, None
    if budget_bytes is not None:
        room = room_in(budget_bytes, measured.used_bytes, measured.stored_bytes)
        if train_hours is not None and not measured.removes:
            interval_s = max(interval_s, lasting_s(room, costs, train_hours * belief.HOUR_S))
    strategy = Strategy(
        "advised", interval_s, costs.paid_s, lag_s=costs.durable_s, restart_s=measured.restart_s
    )
    used_s = measured.used_interval_s
    return Advice(
        measured=measured,
        prior_shape=before.shape,
        prior_watched_s=before.watched_s,
        mtbf_s=mtbf_s,
        mtbf_low_s=believed.mtbf_s(0.05),
        mtbf_high_s=believed.mtbf_s(0.95),
        young_s=intervals.young_s(costs.paid_s, mtbf_s),
        daly_s=intervals.daly_s(costs.paid_s, mtbf_s),
        exact_s=exact_s,
        simulated_s=_simulated_s(believed, strategy, exact_s or interval_s, seed),
        interval_s=interval_s,
        bounded_by=_bounded_by(costs, exact_s, unbudgeted_s, interval_s),
        steps=max(round(interval_s / measured.step_s), 1) if measured.step_s else 1,
        advised=_expected(believed, strategy, interval_s, seed),
        used=_expected(believed, strategy, used_s, seed) if math.isfinite(used_s) else None,
        stored_bytes_per_day=measured.stored_bytes * _DAY_S / (interval_s + costs.paid_s),
        fitting=None if room is None else room.fitting,
        filled_s=None if room is None else room.coming * (interval_s + costs.paid_s),
        coming=None if room is None else room.coming,
        tiers=advise_tiers(
            costs,
            measured.copies,
            home_s=interval_s,
            mtbf_s=mtbf_s,
            max_overhead=max_overhead,
            step_s=measured.step_s,
        ),
    )


def _bounded_by(costs: Costs, exact_s: float, unbudgeted_s: float, interval_s: float) -> str | None:
    if interval_s > unbudgeted_s:
        return "budget"
    if interval_s <= exact_s:
        return None
    return "disk" if interval_s <= costs.held_s + costs.durable_s else "overhead"


def _simulated_s(believed: belief.Belief, strategy: Strategy, guess_s: float, seed: int) -> float:
    """Return the best interval over what is believed, by simulation."""
    mtbf_s = believed.drawn_mtbf_s(np.random.default_rng(seed), _SEARCHED)
    job = Job(Uncertain(mtbf_s), wall_s=_horizon_s(guess_s, believed.mean_mtbf_s))
    return simulated_best_s(job, strategy, guess_s, count=_SEARCHED, seed=seed)


def _expected(
    believed: belief.Belief, strategy: Strategy, interval_s: float, seed: int
) -> Expected:
    mtbf_s = believed.drawn_mtbf_s(np.random.default_rng(seed), _HISTORIES)
    job = Job(Uncertain(mtbf_s), wall_s=_horizon_s(interval_s, believed.mean_mtbf_s))
    histories = simulate(job, replace(strategy, interval_s=interval_s), count=_HISTORIES, seed=seed)
    return Expected(interval_s, spread(histories.ettr))


def _horizon_s(interval_s: float, mtbf_s: float) -> float:
    return max(_INTERVALS_SIMULATED * interval_s, 20.0 * mtbf_s)
