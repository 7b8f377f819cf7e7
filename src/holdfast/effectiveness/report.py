"""What checkpointing has cost a run and saved it, from the run's own journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, quantiles

from holdfast.effectiveness.alternatives import Alternative, alternatives
from holdfast.effectiveness.interruptions import Interruption, interruptions
from holdfast.effectiveness.kept import Holdings, read_holdings
from holdfast.effectiveness.lives import RUNNING, Life, lives_of
from holdfast.effectiveness.pieces import settle
from holdfast.effectiveness.unsaid import doubts_of_the_unsaid
from holdfast.effectiveness.wall_clock import WallClock, doubts, wall_clock
from holdfast.engine.tally import class_bounds_s
from holdfast.errors import NoHistory
from holdfast.policy.checks import positive_number
from holdfast.records import commits, journal
from holdfast.store.contract import ObjectStore

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Distribution:
    """Some values: how many, mean, median, 95th percentile, highest; None where there are none."""

    n: int
    mean: float | None = None
    p50: float | None = None
    p95: float | None = None
    highest: float | None = None


@dataclass(frozen=True, slots=True)
class StepLength:
    """How many steps took from some seconds up to others."""

    from_s: float
    to_s: float
    count: int


@dataclass(frozen=True, slots=True)
class StoragePoint:
    """What the run had stored at a time: all that was written less what was given back."""

    at_ns: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """The effectiveness of checkpointing in a run.

    Attributes:
        run: Its name.
        n_processes: How many processes have trained it.
        is_open: Whether the end of the newest is not in the journal: it may be training still.
        wall_clock: Where the time went.
        ettr: Useful time ÷ wall-clock.
        steps: Steps that still count.
        steps_twice: Steps that were lost or given up.
        steps_per_hour: Goodput: steps that count, for each hour of wall-clock.
        possible_steps_per_hour: The same at the pace of undisturbed steps.
        overhead: The share of training that saves have cost: held and slowed ÷ (that and useful).
        n_saves: Saves that became durable.
        n_failed: Saves that failed.
        n_skipped: Saves that were skipped because another was under way.
        n_pruned: Checkpoints that retention has removed.
        held_s, snapshot_s, queued_s, persist_s, durable_s, restore_s: Distributions.
        restore_read_bytes: What restores have read of the store, all ranks together.
        restore_wanted_bytes: The bytes of arrays that this was for.
        state_bytes: Of the newest checkpoint.
        stored_bytes: What was written in all.
        step_lengths: The lengths of steps, in classes.
        interruptions: In order.
        storage: Over time.
        holdings: What is in the store now, for each kept checkpoint.
        budget_share: What that is of the budget; None without one.
        alternatives: What other strategies would have cost in the same history.
        doubts: What makes these numbers less sure than they look.
    """

    run: str
    n_processes: int
    is_open: bool
    wall_clock: WallClock
    ettr: float
    steps: int
    steps_twice: int
    steps_per_hour: float
    possible_steps_per_hour: float
    overhead: float
    n_saves: int
    n_failed: int
    n_skipped: int
    n_pruned: int
    held_s: Distribution
    snapshot_s: Distribution
    queued_s: Distribution
    persist_s: Distribution
    durable_s: Distribution
    restore_s: Distribution
    restore_read_bytes: int
    restore_wanted_bytes: int
    state_bytes: int
    stored_bytes: int
    step_lengths: tuple[StepLength, ...]
    interruptions: tuple[Interruption, ...]
    storage: tuple[StoragePoint, ...]
    holdings: Holdings
    budget_share: float | None
    alternatives: tuple[Alternative, ...]
    doubts: tuple[str, ...]

    def _repr_html_(self) -> str:
        """What notebooks show."""
        from holdfast.effectiveness.card import report_card

        return report_card(self)


def read_report(store: ObjectStore, run: str, budget_bytes: int | None = None) -> Report:
    """Return the report of a run.

    Args:
        store: Where it is.
        run: Its name.
        budget_bytes: What its checkpoints may take.

    Raises:
        UsageError: The budget is not above 0.
        NoHistory: Its journal has no events that tell of training.
        JournalMixed: Its journal has events of another run.
    """
    if budget_bytes is not None:
        positive_number("budget_bytes", budget_bytes)
    # First the checkpoints: each that is there has been written down soon after.
    records = commits.good_commits(store, run)
    events = journal.events(store, run)
    holdings = read_holdings(store, run, records)
    found = report_of(run, lives_of(events, run), holdings, budget_bytes)
    return replace(found, doubts=(*found.doubts, *doubts_of_the_unsaid(records, events)))


_NO_HOLDINGS = Holdings()


def report_of(
    run: str,
    lives: Sequence[Life],
    holdings: Holdings = _NO_HOLDINGS,
    budget_bytes: int | None = None,
) -> Report:
    """Return the report of some lives, and of what the store holds."""
    if not lives:
        raise NoHistory(
            f"Run {run!r} has no recorded history. A Checkpointer records one while it trains; "
            "single saves do not, and a copy of checkpoints does not bring it along.",
            run=run,
        )
    standing, losses = settle(lives)
    clock = wall_clock(lives, standing, losses)
    saves = [save for life in lives for save in life.saves]
    restores = [restore for life in lives for restore in life.restores]
    steps = sum(piece.n_steps for piece in standing)
    paid_s = clock.held_s + clock.slowed_s
    return Report(
        run=run,
        n_processes=len(lives),
        is_open=lives[-1].how == RUNNING,
        wall_clock=clock,
        ettr=clock.ettr,
        steps=steps,
        steps_twice=sum(loss.n_steps for loss in losses),
        steps_per_hour=_per_hour(steps, clock.total_s),
        possible_steps_per_hour=_per_hour(steps, clock.useful_s),
        overhead=paid_s / (paid_s + clock.useful_s) if clock.useful_s else 0.0,
        n_saves=len(saves),
        n_failed=sum(life.n_failed for life in lives),
        n_skipped=sum(life.n_skipped for life in lives),
        n_pruned=sum(life.n_pruned for life in lives),
        held_s=distribution([save.held_s for save in saves]),
        snapshot_s=distribution([save.snapshot_s for save in saves]),
        queued_s=distribution([save.queued_s for save in saves]),
        persist_s=distribution([save.persist_s for save in saves]),
        durable_s=distribution([save.durable_s for save in saves]),
        restore_s=distribution([restore.took_s for restore in restores]),
        restore_read_bytes=sum(restore.read_bytes for restore in restores),
        restore_wanted_bytes=sum(restore.wanted_bytes for restore in restores),
        state_bytes=saves[-1].state_bytes if saves else 0,
        stored_bytes=sum(save.stored_bytes for save in saves),
        step_lengths=_step_lengths(lives),
        interruptions=tuple(interruptions(lives, losses)),
        storage=_storage(lives),
        holdings=holdings,
        budget_share=None if budget_bytes is None else holdings.used_bytes / budget_bytes,
        alternatives=tuple(alternatives(lives)),
        doubts=(*doubts(lives), *_more_doubts(saves_any=bool(saves), steps=steps)),
    )


def distribution(values: Sequence[float]) -> Distribution:
    """Return what there is to say about some values.

    >>> distribution([1.0, 2.0, 3.0]).p50
    2.0
    """
    if not values:
        return Distribution(0)
    if len(values) == 1:
        return Distribution(1, values[0], values[0], values[0], values[0])
    cuts = quantiles(values, n=20, method="inclusive")
    return Distribution(len(values), fmean(values), cuts[9], cuts[18], max(values))


def _per_hour(steps: int, seconds: float) -> float:
    return steps / seconds * _HOUR_S if seconds else 0.0


def _step_lengths(lives: Sequence[Life]) -> tuple[StepLength, ...]:
    counts: dict[int, int] = {}
    for life in lives:
        for number, count in life.counted.lengths.items():
            counts[number] = counts.get(number, 0) + count
    return tuple(StepLength(*class_bounds_s(number), n) for number, n in sorted(counts.items()))


def _storage(lives: Sequence[Life]) -> tuple[StoragePoint, ...]:
    nbytes = 0
    points = []
    for life in lives:
        changes = [(save.at_ns, save.stored_bytes) for save in life.saves]
        changes += [(freed.at_ns, -freed.nbytes) for freed in life.freed]
        for at_ns, change in sorted(changes):
            nbytes = max(nbytes + change, 0)
            points.append(StoragePoint(at_ns, nbytes))
    return tuple(points)


def _more_doubts(*, saves_any: bool, steps: int) -> list[str]:
    found = []
    if not saves_any:
        found.append("No save has become durable: the next failure takes everything.")
    if not steps:
        found.append("No step was done: Checkpointer.step() was never called, or never returned.")
    return found
