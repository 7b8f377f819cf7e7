"""Event simulation of a strategy under a model of failure, for many histories at once.

Each round of the loop is one attempt of every history that is not over: it waits in the queue,
where nothing of it can fail, is restarted, trains and saves, and fails or comes to the end. Between
failures nothing is stepped through: what an attempt comes to is arithmetic (``attempt``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from holdfast.effectiveness.attempt import attempted, needed_s
from holdfast.effectiveness.failures import FailureModel
from holdfast.effectiveness.strategy import Strategy
from holdfast.errors import UsageError

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

# Attempts of one history. Who does not come further in so many will not.
MAX_ATTEMPTS = 100_000
# So many tell whether those will do.
_TELLING_ATTEMPTS = 500


@dataclass(frozen=True, slots=True)
class Histories:
    """What histories came to; one element for each.

    Attributes:
        wall_s: How long each took.
        useful_s: Work that stands at its end.
        twice_s: Work that was lost and done again, or lost at last.
        paid_s: What was paid for saves.
        restarting_s: Restarts and queueing.
        n_failures: How often it failed.
        n_saves: How often it saved.
    """

    wall_s: Floats
    useful_s: Floats
    twice_s: Floats
    paid_s: Floats
    restarting_s: Floats
    n_failures: Floats
    n_saves: Floats

    @property
    def ettr(self) -> Floats:
        """The useful share of each."""
        return self.useful_s / self.wall_s


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be simulated, whatever the strategy.

    Attributes:
        failures: When attempts fail.
        wall_s: A history is over after so long, done or not.
        work_s: A history is over when so much is done.
        queue_s: Mean time in a queue before each restart; exponential.
    """

    failures: FailureModel
    wall_s: float = math.inf
    work_s: float = math.inf
    queue_s: float = 0.0


def simulate(job: Job, strategy: Strategy, *, count: int = 10_000, seed: int = 0) -> Histories:
    """Return what that many histories come to.

    The same seed has the same failures, as far as they do not depend on the strategy: strategies
    are compared on equal terms.

    Raises:
        UsageError: Nothing ends the histories.
    """
    if not (math.isfinite(job.wall_s) or math.isfinite(job.work_s)):
        raise UsageError("A history without an end: say how long it lasts, or how much work it is.")
    run = _Run(job, strategy, count, seed)
    for number in range(MAX_ATTEMPTS):
        if not run.going.size:
            return run.result()
        if number == _TELLING_ATTEMPTS and run.farthest() * MAX_ATTEMPTS < number:
            break
        run.attempt()
    raise UsageError(
        f"{run.going.size:,} of {count:,} histories do not come to their end in {MAX_ATTEMPTS:,} "
        f"attempts: with {strategy.name!r} the job fails before it gets anywhere. Check how often "
        "it fails (mtbf_hours, per_node_day), or simulate less time."
    )


@dataclass(slots=True)
class _Sums:
    count: int
    wall: Floats = field(init=False)
    done: Floats = field(init=False)
    # Of what is done, how much the store has too, where a faster tier has more.
    stored: Floats = field(init=False)
    # Checkpoints of that tier since the last one that the store has as well.
    since: Floats = field(init=False)
    twice: Floats = field(init=False)
    paid: Floats = field(init=False)
    restarting: Floats = field(init=False)
    failures: Floats = field(init=False)
    saves: Floats = field(init=False)

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if name != "count":
                setattr(self, name, np.zeros(self.count))


class _Run:
    """Histories under way. ``going`` are those that are not at their end."""

    def __init__(self, job: Job, strategy: Strategy, count: int, seed: int) -> None:
        # Failures have a generator of their own, so that what else is drawn does not move them.
        seeds = np.random.SeedSequence(seed).spawn(2)
        failing, self._rng = (np.random.default_rng(s) for s in seeds)
        self._job, self._strategy = job, strategy
        self._drawing = job.failures.begin(failing, count)
        self._sums = _Sums(count)
        self._restart_s, self._queue_s = np.zeros(count), np.zeros(count)
        self.going: Indices = np.arange(count)

    def farthest(self) -> float:
        """Return how far the one that has come farthest is, from 0 to 1."""
        sums, job = self._sums, self._job
        return float(max((sums.wall / job.wall_s).max(), (sums.done / job.work_s).max()))

    def attempt(self) -> None:
        """Let every history that is going make one attempt."""
        sums, which = self._sums, self.going
        # What nobody runs does not fail: a process ages from the end of its wait.
        queued_s = np.minimum(self._queue_s[which], self._job.wall_s - sums.wall[which])
        sums.wall[which] += queued_s
        sums.restarting[which] += queued_s
        lasts_s = self._drawing.lasts_s(which, sums.wall[which])
        left_s = self._job.wall_s - sums.wall[which]
        restart_s = self._restart_s[which]
        training_s = needed_s(self._job.work_s - sums.done[which], self._strategy)
        ends_s = np.minimum(left_s, restart_s + training_s)
        has_failed = lasts_s < ends_s
        took_s = np.minimum(lasts_s, ends_s)
        restarting_s = np.minimum(took_s, restart_s)
        sums.wall[which] += took_s
        sums.restarting[which] += restarting_s
        self._train(which, took_s - restarting_s, has_failed)
        self.going = which[has_failed]
        self._fail(self.going)

    def _train(self, which: Indices, lasted_s: Floats, has_failed: npt.NDArray[np.bool_]) -> None:
        sums, strategy, tier = self._sums, self._strategy, self._strategy.tier
        came_to = attempted(lasted_s, strategy, None if tier is None else tier.lag_s)
        sums.paid[which] += came_to.paid_s
        sums.saves[which] += came_to.n_paid
        secured_s = np.minimum(self._secured_s(came_to.n_durable), came_to.worked_s)
        noticed = self._rng.random(which.size) < strategy.saves_on_notice
        secured_s = np.where(noticed & has_failed, came_to.worked_s, secured_s)
        stands_s = np.where(has_failed, secured_s, came_to.worked_s)
        sums.twice[which] += came_to.worked_s - stands_s
        if tier is not None:
            since = sums.since[which]
            n_durable = attempted(lasted_s, strategy).n_durable
            stored = (since + n_durable) // tier.every * tier.every - since
            at_store_s = np.where(noticed & has_failed, stands_s, stored * strategy.interval_s)
            in_store = at_store_s > 0.0
            sums.stored[which] = np.where(
                in_store, sums.done[which] + at_store_s, sums.stored[which]
            )
            # Each so many-th goes to the store, whichever process saves it.
            counted = np.mod(since + came_to.n_durable, tier.every)
            sums.since[which] = np.where(noticed & has_failed, 0.0, counted)
        sums.done[which] += stands_s

    def _secured_s(self, n_durable: Floats) -> Floats:
        if math.isinf(self._strategy.interval_s):
            return np.zeros_like(n_durable)
        return n_durable * self._strategy.interval_s

    def _fail(self, which: Indices) -> None:
        sums, strategy = self._sums, self._strategy
        sums.failures[which] += 1
        restart_s = np.full(which.size, strategy.restart_s)
        if strategy.tier is not None:
            survives = self._rng.random(which.size) < strategy.tier.survives
            self._go_back(which[~survives], sums.stored[which[~survives]])
            sums.since[which[~survives]] = 0.0
            restart_s[survives] = strategy.tier.restart_s
        if strategy.spoiled and strategy.is_saving:
            n_spoiled = self._rng.geometric(1.0 - strategy.spoiled, which.size) - 1.0
            back_s = np.where(n_spoiled < strategy.keep, n_spoiled * strategy.interval_s, np.inf)
            back_s = np.where(n_spoiled > 0, back_s, 0.0)
            self._go_back(which, np.maximum(sums.done[which] - back_s, 0.0))
        if self._job.queue_s:
            self._queue_s[which] = self._rng.exponential(self._job.queue_s, which.size)
        self._restart_s[which] = restart_s

    def _go_back(self, which: Indices, to_s: Floats) -> None:
        self._sums.twice[which] += self._sums.done[which] - to_s
        self._sums.done[which] = to_s
        self._sums.stored[which] = np.minimum(self._sums.stored[which], to_s)

    def result(self) -> Histories:
        sums = self._sums
        return Histories(
            sums.wall, sums.done, sums.twice, sums.paid, sums.restarting, sums.failures, sums.saves
        )
