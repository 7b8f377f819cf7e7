"""What other strategies would have cost in a history that was lived through.

Each life trained for some time and ended in some way. A strategy pays for its saves in that time,
and if the life failed it loses what was not durable. Restarts and waiting are the same for all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import numpy.typing as npt

from holdfast.effectiveness import belief, intervals
from holdfast.effectiveness.adaptive import seen_in
from holdfast.effectiveness.attempt import Floats, attempted
from holdfast.effectiveness.comparing import usual_strategies
from holdfast.effectiveness.lives import Life
from holdfast.effectiveness.strategy import Strategy
from holdfast.engine.measuring import slowed_s
from holdfast.policy.moment import Costs


@dataclass(frozen=True, slots=True)
class Alternative:
    """A strategy, and what it would have paid and lost; seconds."""

    name: str
    interval_s: float
    paid_s: float
    lost_s: float

    @property
    def cost_s(self) -> float:
        """Both together."""
        return self.paid_s + self.lost_s


def costs_of_lives(
    lives: Sequence[Life], middle: Callable[[list[float]], float] = fmean
) -> Costs | None:
    """Return what a save has cost, or None where none was made.

    Args:
        lives: The lives.
        middle: The mean, for what it has cost; the median, for what one will cost.
    """
    saves = [save for life in lives for save in life.saves]
    if not saves:
        return None
    return Costs(
        held_s=middle([save.held_s for save in saves]),
        slowed_s=sum(slowed_s(life.counted) for life in lives) / len(saves),
        durable_s=middle([save.durable_s for save in saves]),
    )


def alternatives(lives: Sequence[Life]) -> list[Alternative]:
    """Return what usual strategies would have cost, with the costs of a save that were measured.

    None without a save: nobody knows then what one costs.
    """
    costs = costs_of_lives(lives)
    trained_s = sum(trained(life) for life in lives)
    if costs is None or trained_s <= 0.0:
        return []
    believed = belief.posterior(belief.prior(), seen_in(list(lives)))
    base = Strategy("as it was", used_interval_s(lives), costs.paid_s, lag_s=costs.durable_s)
    best_s = intervals.bounded_s(costs, believed.mean_mtbf_s, None)
    tried = [base, *usual_strategies(base, believed.mean_mtbf_s)]
    # The best one is one that the disk can keep up with.
    possible = [_at_least(other, best_s) if other.name == "best" else other for other in tried]
    return [replayed(lives, strategy) for strategy in possible]


def replayed(lives: Sequence[Life], strategy: Strategy) -> Alternative:
    """Return what a strategy would have cost in the history of some lives."""
    lasted_s = np.array([trained(life) for life in lives])
    failed = np.array([life.has_failed for life in lives])
    came_to = attempted(lasted_s, strategy)
    secured_s = np.zeros_like(lasted_s)
    if math.isfinite(strategy.interval_s):
        secured_s = np.minimum(came_to.n_durable * strategy.interval_s, came_to.worked_s)
    lost_s = float((came_to.worked_s - secured_s)[failed].sum())
    if math.isinf(strategy.interval_s):
        lost_s = _lost_without(lasted_s, failed)
    return Alternative(strategy.name, strategy.interval_s, float(came_to.paid_s.sum()), lost_s)


def _lost_without(lasted_s: Floats, failed: npt.NDArray[np.bool_]) -> float:
    """Every failure takes all that was done before it, also by lives that ended well."""
    if not failed.any():
        return 0.0
    return float(lasted_s[: int(np.flatnonzero(failed)[-1]) + 1].sum())


def trained(life: Life) -> float:
    """Return for how long a life trained and saved."""
    return life.counted.quiet_s + life.counted.busy_s + life.counted.held_s


def used_interval_s(lives: Sequence[Life]) -> float:
    """Return how long was trained for a save, on average."""
    n_saves = sum(len(life.saves) for life in lives)
    stepping_s = sum(life.counted.quiet_s + life.counted.busy_s for life in lives)
    return stepping_s / n_saves if n_saves and stepping_s else math.inf


def _at_least(strategy: Strategy, interval_s: float) -> Strategy:
    return replace(strategy, interval_s=max(strategy.interval_s, interval_s))
