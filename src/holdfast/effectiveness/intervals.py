"""How long to train between two saves: formulas, each with where it is from. All in seconds.

``cost_s`` is what training pays for a save, ``mtbf_s`` the mean time between failures. An interval
is the time of training from the end of one save to the beginning of the next.
"""

from __future__ import annotations

import functools
import math

from holdfast.policy.moment import Costs

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
_PRECISION = 1e-6
# Of saves that cost nothing measurable.
_SHORTEST_S = 1e-3


def young_s(cost_s: float, mtbf_s: float) -> float:
    """Return the optimum of first order: Young (1974), eq. 1, T = √(2 C M).

    >>> round(young_s(60.0, 3600.0 * 12))
    2277
    """
    return math.sqrt(2.0 * cost_s * mtbf_s)


def daly_s(cost_s: float, mtbf_s: float) -> float:
    """Return the optimum of higher order: Daly (2006), eq. 37.

    >>> daly_s(60.0, 3600.0 * 12) < young_s(60.0, 3600.0 * 12)
    True
    """
    if cost_s >= 2.0 * mtbf_s:
        return mtbf_s
    ratio = cost_s / (2.0 * mtbf_s)
    series = 1.0 + math.sqrt(ratio) / 3.0 + ratio / 9.0
    return young_s(cost_s, mtbf_s) * series - cost_s


def ettr(
    interval_s: float, cost_s: float, mtbf_s: float, *, restart_s: float = 0.0, lag_s: float = 0.0
) -> float:
    """Return the share of the time that is useful, exact where failures are exponential.

    An attempt lasts M on average. A save that is complete after k intervals and their saves is
    there if the attempt lasts for that, for the restart and for the lag before. Summed over k that
    is Daly (2006), eq. 20, with the lag added to the restart.

    Args:
        interval_s: Training between saves.
        cost_s: What a save costs.
        mtbf_s: Mean time between failures.
        restart_s: From a failure until training goes on.
        lag_s: From the end of a save until it is durable.

    >>> round(ettr(600.0, 10.0, 3600.0), 4)
    0.9033
    """
    cycle = (interval_s + cost_s) / mtbf_s
    lost = (restart_s + lag_s) / mtbf_s
    if cycle + lost > 700.0:
        return 0.0
    return interval_s / mtbf_s * math.exp(-lost) / math.expm1(cycle)


# A policy that adapts asks for the same at every step.
@functools.lru_cache(maxsize=256)
def best_s(cost_s: float, mtbf_s: float) -> float:
    """Return the interval at which ``ettr`` is highest, found numerically.

    Neither restart nor lag moves it: both only scale the result.
    """
    if cost_s <= 0.0:
        return 0.0
    lower, upper = 0.0, 4.0 * max(young_s(cost_s, mtbf_s), cost_s, mtbf_s)
    while upper - lower > _PRECISION * upper:
        left = upper - _GOLDEN * (upper - lower)
        right = lower + _GOLDEN * (upper - lower)
        if _gain(left, cost_s, mtbf_s) < _gain(right, cost_s, mtbf_s):
            lower = left
        else:
            upper = right
    return (lower + upper) / 2.0


def _gain(interval_s: float, cost_s: float, mtbf_s: float) -> float:
    """Return the logarithm of ``ettr``, but for what no interval changes.

    Where saves cost far more than what lies between failures, ``ettr`` itself is 0 everywhere.
    """
    cycle = (interval_s + cost_s) / mtbf_s
    return math.log(interval_s) - interval_s / mtbf_s - math.log(-math.expm1(-cycle))


def meta_ettr(interval_s: float, cost_s: float, mtbf_s: float, restart_s: float) -> float:
    """Return the expected ETTR of first order: arXiv 2410.21680, without queueing.

    >>> mtbf_s = 86400 / (1500 * 6.5e-3)
    >>> [round(meta_ettr(young_s(w, mtbf_s), w, mtbf_s, 300.0), 2) for w in (10.0, 60.0, 300.0)]
    [0.92, 0.86, 0.74]
    """
    return (1.0 - (restart_s + interval_s / 2.0) / mtbf_s) / (1.0 + cost_s / interval_s)


def no_checkpoints_s(work_s: float, mtbf_s: float) -> float:
    """Return how long work takes on average if every failure takes all of it: (e^{λT} − 1) / λ."""
    return mtbf_s * math.expm1(work_s / mtbf_s)


def bounded_s(costs: Costs, mtbf_s: float, max_overhead: float | None, in_flight: int = 1) -> float:
    """Return the best interval that what saves cost allows.

    Args:
        costs: What a save costs.
        mtbf_s: Mean time between failures.
        max_overhead: The share of the time that saves may cost, or None.
        in_flight: Saves that may be under way at a time: the disk must keep up with them.
    """
    wanted_s = best_s(costs.paid_s, mtbf_s)
    overhead_s = costs.paid_s * (1.0 / max_overhead - 1.0) if max_overhead else 0.0
    store_s = (costs.held_s + costs.durable_s) / in_flight
    return max(wanted_s, overhead_s, store_s, _SHORTEST_S)
