"""The arithmetic of one attempt: from where it begins to train until something ends it.

An attempt trains for an interval, pays for a save, trains again. A save is durable a while after it
was paid for. Everything is an array: one element for each attempt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from holdfast.effectiveness.strategy import Strategy

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Attempted:
    """What attempts came to.

    Attributes:
        worked_s: Training that was done.
        n_paid: Saves that were paid for, the last one maybe in part.
        paid_s: What was paid for them.
        n_durable: How many of them were durable in the end.
    """

    worked_s: Floats
    n_paid: Floats
    paid_s: Floats
    n_durable: Floats


def attempted(lasted_s: Floats, strategy: Strategy, lag_s: float | None = None) -> Attempted:
    """Return what attempts come to that train and save for some time.

    Args:
        lasted_s: For how long each trains and saves; 0 or more.
        strategy: How it saves.
        lag_s: Another lag than that of the strategy.
    """
    cycle_s = strategy.interval_s + strategy.cost_s
    if not strategy.is_saving:
        zeros = np.zeros_like(lasted_s)
        return Attempted(lasted_s, zeros, zeros, zeros)
    lag_s = strategy.lag_s if lag_s is None else lag_s
    n_whole = np.floor(lasted_s / cycle_s)
    rest_s = lasted_s - n_whole * cycle_s
    begun_s = np.maximum(rest_s - strategy.interval_s, 0.0)
    n_durable = np.maximum(np.floor((lasted_s - lag_s) / cycle_s), 0.0)
    return Attempted(
        worked_s=n_whole * strategy.interval_s + (rest_s - begun_s),
        n_paid=n_whole + (begun_s > 0.0),
        paid_s=n_whole * strategy.cost_s + begun_s,
        n_durable=n_durable,
    )


def needed_s(work_s: Floats, strategy: Strategy) -> Floats:
    """Return for how long an attempt trains and saves until some work is done.

    No save is made for the end of the work: there is nothing after it that could be lost.
    """
    if not strategy.is_saving or strategy.cost_s == 0.0:
        return work_s
    n_saves = np.maximum(np.ceil(work_s / strategy.interval_s - 1e-9) - 1.0, 0.0)
    needed: Floats = work_s + n_saves * strategy.cost_s
    return needed
