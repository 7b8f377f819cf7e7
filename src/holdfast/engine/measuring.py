"""What saves of this process have cost, for policies that adapt to it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from holdfast.engine.ledger import Ledger, SaveTimes
from holdfast.engine.tally import Counted, Tally
from holdfast.policy.moment import Costs

# Few enough to follow a disk that becomes slow, enough for one odd save not to count.
RECENT = 9


class Measuring:
    """Looks at the ledger and the tally, and only anew when another save has become durable."""

    def __init__(self, ledger: Ledger, tally: Tally) -> None:
        self._ledger = ledger
        self._tally = tally
        self._n_seen = 0
        self._costs: Costs | None = None

    def costs(self) -> Costs | None:
        """Return what a save costs, or None before the first has become durable."""
        if self._ledger.n_durable != self._n_seen:
            times = self._ledger.times()
            self._n_seen = len(times)
            self._costs = costs_of(times, self._tally.read())
        return self._costs


def costs_of(times: Sequence[SaveTimes], counted: Counted) -> Costs | None:
    """Return what a save costs by the last ones; medians, so that an odd one does not count.

    What went into memory only tells nothing of how long one at home takes.
    """
    recent = [t for t in times if t.tiers][-RECENT:]
    if not recent:
        return None
    return Costs(
        held_s=median(t.held_s for t in recent),
        slowed_s=slowed_s(counted) / len(times),
        durable_s=median(t.durable_s for t in recent),
    )


def slowed_s(counted: Counted) -> float:
    """Return how much longer steps took in all because something was being saved meanwhile."""
    if not counted.n_quiet:
        return 0.0
    return max(counted.busy_s - counted.n_busy * counted.quiet_s / counted.n_quiet, 0.0)
