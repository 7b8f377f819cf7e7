"""``save=adaptive(…)``: the interval that the run's own costs and failures ask for, live.

The same formulas as ``holdfast advise``. It is steady: an interval stays until another is better by
a fifth. That far off the best, less than three hundredths of what saves and failures cost is given
away, for the optimum is flat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from holdfast.effectiveness import belief, intervals
from holdfast.effectiveness.lives import RUNNING, Life, read_lives
from holdfast.errors import HoldfastError
from holdfast.policy.checks import positive_number
from holdfast.policy.moment import Costs, Failures, Moment, Past
from holdfast.policy.when import SavePolicy
from holdfast.store.contract import ObjectStore

STEADY = 0.2
# Until one has been measured; the first save then comes soon, and tells more.
_ASSUMED_COSTS = Costs(held_s=0.1)


@final
@dataclass(frozen=True, slots=True)
class Adaptive(SavePolicy):
    """Due when the interval is over that costs and failures ask for."""

    max_overhead: float
    mtbf_hours: float | None

    def due(self, now: Moment, past: Past) -> tuple[str, ...]:
        """Return the reason if the interval is over."""
        since_s = past.start_time_s if past.saved_time_s is None else past.saved_time_s
        interval_s = self.interval_s(now, past)
        if now.time_s - since_s < interval_s:
            return ()
        return (f"adaptive, every {interval_s:.3g} s",)

    def interval_s(self, now: Moment, past: Past) -> float:
        """Return the interval: the one before, unless it is off by a fifth."""
        seen = past.failures
        watched_s = seen.watched_s + max(now.time_s - past.start_time_s, 0.0)
        expected_s = None if self.mtbf_hours is None else self.mtbf_hours * belief.HOUR_S
        believed = belief.posterior(belief.prior(expected_s), Failures(seen.count, watched_s))
        costs = past.costs or _ASSUMED_COSTS
        # To three digits: the time without a failure grows at every step, and to find an optimum
        # anew takes longer than all else that a step is held for.
        mtbf_s = float(f"{believed.mean_mtbf_s:.3g}")
        wanted_s = intervals.bounded_s(costs, mtbf_s, self.max_overhead)
        if past.interval_s is not None and abs(wanted_s / past.interval_s - 1.0) < STEADY:
            return past.interval_s
        return wanted_s

    @property
    def is_adaptive(self) -> bool:
        """Always."""
        return True


def adaptive(*, max_overhead: float = 0.01, mtbf_hours: float | None = None) -> SavePolicy:
    """Return a policy that saves as often as the run's own costs and failures ask for.

    Args:
        max_overhead: The share of the time that saves may cost at most.
        mtbf_hours: How many hours pass between failures, as far as anybody knows; it counts as much
            as one failure that was seen. None: a prior that says little, one failure a day.

    Raises:
        UsageError: A share that is not above zero and below one, or hours that are not above zero.
    """
    share = positive_number("adaptive(max_overhead=…)", max_overhead)
    if share >= 1.0:
        positive_number("1 - adaptive(max_overhead=…)", 1.0 - share)
    hours = None if mtbf_hours is None else positive_number("adaptive(mtbf_hours=…)", mtbf_hours)
    return Adaptive(share, hours)


def failures_of(store: ObjectStore, run: str) -> Failures:
    """Return how often a run has failed before this process; none where nobody can tell."""
    try:
        lives = read_lives(store, run)
        # The newest has not said how it ended: it is gone, since there is another one now.
        n_cut_off = sum(life.how == RUNNING for life in lives)
        seen = seen_in(lives)
        return Failures(seen.count + n_cut_off, seen.watched_s)
    except HoldfastError:
        return Failures()


def seen_in(lives: list[Life]) -> Failures:
    """Return how often some lives have failed, and how long they were watched."""
    return Failures(sum(life.has_failed for life in lives), sum(life.alive_s for life in lives))
