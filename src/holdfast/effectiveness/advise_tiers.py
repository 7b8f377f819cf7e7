"""How often to save in other tiers than home, from what copies there have taken."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from holdfast.effectiveness import intervals
from holdfast.effectiveness.events import Event
from holdfast.policy.moment import Costs

MEMORY = "memory"
# A memory that is filled hardly more often than home is not worth what it takes.
_WORTH = 0.8


@dataclass(frozen=True, slots=True)
class Copies:
    """What copies to a far tier have taken.

    Attributes:
        tier: Its name.
        count: How many were made.
        took_s: What one takes, the median.
    """

    tier: str
    count: int
    took_s: float


@dataclass(frozen=True, slots=True)
class TierAdvice:
    """How often to save in a tier.

    Attributes:
        tier: ``memory``, or the name of a far one.
        interval_s: Training between two of its checkpoints.
        steps: The same in steps.
        takes_s: What one takes: in memory what training pays, far away the copy in the background.
        is_measured: Whether the run has used it; memory is told also to those who have none yet.
    """

    tier: str
    interval_s: float
    steps: int
    takes_s: float
    is_measured: bool


def copies_in(events: Iterable[Event]) -> tuple[Copies, ...]:
    """Return what copies to far tiers have taken, by the events of a run."""
    took_s: dict[str, list[float]] = {}
    for event in events:
        tier, seconds = event.get("tier"), event.get("took_s")
        if event.get("event") != "drained" or not isinstance(tier, str):
            continue
        if isinstance(seconds, int | float) and math.isfinite(seconds) and seconds >= 0.0:
            took_s.setdefault(tier, []).append(float(seconds))
    return tuple(Copies(tier, len(found), median(found)) for tier, found in took_s.items())


def advise_tiers(
    costs: Costs,
    copies: Iterable[Copies],
    *,
    home_s: float,
    mtbf_s: float,
    max_overhead: float | None,
    step_s: float,
) -> tuple[TierAdvice, ...]:
    """Return how often to save in memory and in the far tiers that were used.

    A checkpoint in memory costs the copy, and none of what the store takes; it outlives what ends
    the process, which is most of what ``mtbf_s`` counts. A copy far away costs training nothing,
    and is made of what is at home: as often as the link keeps up, each so many-th checkpoint.

    Args:
        costs: What a save at home costs.
        copies: What copies to far tiers have taken.
        home_s: The interval at home.
        mtbf_s: Mean time between failures.
        max_overhead: The share of the time that saves may cost, or None.
        step_s: What a step takes.
    """
    near = intervals.bounded_s(Costs(costs.held_s), mtbf_s, max_overhead)
    found = []
    if near < _WORTH * home_s:
        found.append(TierAdvice(MEMORY, near, _steps(near, step_s), costs.held_s, False))
    for copy in copies:
        cycle_s = home_s + costs.paid_s
        interval_s = home_s * max(math.ceil(copy.took_s / cycle_s), 1)
        steps = _steps(interval_s, step_s)
        found.append(TierAdvice(copy.tier, interval_s, steps, copy.took_s, True))
    return tuple(found)


def _steps(interval_s: float, step_s: float) -> int:
    return max(round(interval_s / step_s), 1) if step_s else 1
