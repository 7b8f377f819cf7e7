"""Strategies side by side: the same failures, each strategy's outcome as a distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from holdfast.effectiveness import intervals
from holdfast.effectiveness.simulate import Floats, Job, simulate
from holdfast.effectiveness.strategy import Strategy

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution: its mean and quantiles."""

    mean: float
    p05: float
    p25: float
    p50: float
    p75: float
    p95: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a strategy came to over many histories; times in seconds.

    Attributes:
        name: Of the strategy.
        interval_s: Its interval; infinite for none.
        ettr: The useful share of the time.
        wall_s: How long histories took.
        lost_s: Work done twice, or lost.
        paid_s: What saves cost.
        restarting_s: Restarts and queueing.
        n_failures: Failures in a history, on average.
        n_saves: Saves in a history, on average.
        stored_bytes: What the checkpoints take that stay.
    """

    name: str
    interval_s: float
    ettr: Spread
    wall_s: Spread
    lost_s: Spread
    paid_s: Spread
    restarting_s: Spread
    n_failures: float
    n_saves: float
    stored_bytes: int


def compare(
    job: Job, strategies: Sequence[Strategy], *, count: int = 10_000, seed: int = 0
) -> list[Outcome]:
    """Return the outcome of each strategy, in their order."""
    return [_outcome(job, strategy, count, seed) for strategy in strategies]


def _outcome(job: Job, strategy: Strategy, count: int, seed: int) -> Outcome:
    histories = simulate(job, strategy, count=count, seed=seed)
    return Outcome(
        name=strategy.name,
        interval_s=strategy.interval_s,
        ettr=spread(histories.ettr),
        wall_s=spread(histories.wall_s),
        lost_s=spread(histories.twice_s),
        paid_s=spread(histories.paid_s),
        restarting_s=spread(histories.restarting_s),
        n_failures=float(histories.n_failures.mean()),
        n_saves=float(histories.n_saves.mean()),
        stored_bytes=strategy.keep * strategy.stored_bytes if strategy.is_saving else 0,
    )


def spread(values: Floats) -> Spread:
    """Return the distribution of some values."""
    return Spread(float(values.mean()), *(float(q) for q in np.quantile(values, _QUANTILES)))


def simulated_best_s(
    job: Job, strategy: Strategy, guess_s: float, *, count: int = 400, seed: int = 0
) -> float:
    """Return the interval at which the simulated mean ETTR is highest.

    The same failures at every interval; a parabola through the three best of a grid in the
    logarithm, for one point of the grid is as good as its neighbours.

    Args:
        job: What is simulated.
        strategy: Its interval is not looked at.
        guess_s: About where it is.
        count: Histories for each interval.
        seed: Of the failures.
    """
    exponents = np.linspace(-2.0, 2.0, 17)
    means = [ettr_at(job, strategy, guess_s * 2.0**e, count, seed) for e in exponents]
    peak = int(np.clip(np.argmax(means), 1, len(means) - 2))
    left, middle, right = means[peak - 1 : peak + 2]
    curvature = left - 2.0 * middle + right
    shift = 0.0 if curvature >= 0.0 else float(np.clip((left - right) / 2 / curvature, -1.0, 1.0))
    step = float(exponents[1] - exponents[0])
    return guess_s * math.pow(2.0, float(exponents[peak]) + shift * step)


def ettr_at(job: Job, strategy: Strategy, interval_s: float, count: int, seed: int) -> float:
    """Return the simulated mean ETTR of a strategy at another interval."""
    other = replace(strategy, interval_s=interval_s)
    return float(simulate(job, other, count=count, seed=seed).ettr.mean())


def usual_strategies(
    base: Strategy, mtbf_s: float, intervals_s: Sequence[float] = ()
) -> list[Strategy]:
    """Return a strategy at the intervals that one would try, and its blocking counterpart.

    Args:
        base: Costs, lag and restart; its interval is one of those tried.
        mtbf_s: For the formulas.
        intervals_s: More intervals.
    """
    named = [(f"every {interval_text(s)}", s) for s in intervals_s]
    best_s = max(intervals.best_s(base.cost_s, mtbf_s), 1.0)
    named += [
        ("every 10 min", 600.0),
        ("every hour", 3600.0),
        ("Young", max(intervals.young_s(base.cost_s, mtbf_s), 1.0)),
        ("Daly", max(intervals.daly_s(base.cost_s, mtbf_s), 1.0)),
        ("best", best_s),
    ]
    found = [replace(base, name=name, interval_s=s) for name, s in named]
    if base.lag_s:
        blocked_s = base.cost_s + base.lag_s
        blocking = replace(base, name="best, but blocking", cost_s=blocked_s, lag_s=0.0)
        found.append(replace(blocking, interval_s=intervals.best_s(blocked_s, mtbf_s)))
    return [*found, replace(base, name="no checkpoints", interval_s=math.inf)]


def interval_text(seconds: float) -> str:
    """Return an interval in words.

    >>> interval_text(90.0), interval_text(7200.0), interval_text(600.0)
    ('90 s', '2 h', '10 min')
    """
    for unit, size_s in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size_s and seconds % size_s == 0:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{seconds:.3g} s"
