"""A watch at work: metrics read as they come, findings told with the way back."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from holdfast.errors import HoldfastError
from holdfast.format.commit import CommitRecord
from holdfast.history.meaning import best_name
from holdfast.history.metrics import MetricsLog, read_metrics
from holdfast.policy.checks import Mode
from holdfast.policy.finding import Finding
from holdfast.policy.ranking import rankable
from holdfast.policy.watch import Tracker, WatchPolicy
from holdfast.records import commits, journal
from holdfast.state.numbers import clean_metrics
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")


class Watcher:
    """Hands each step's metrics to the trackers of a watch, and says what they find.

    Args:
        policy: What to watch for; None: nothing.
        store: Where the run's checkpoints are.
        run: Its name.
    """

    def __init__(self, policy: WatchPolicy | None, store: ObjectStore, run: str) -> None:
        self._policy = policy
        self._store, self._run = store, run
        self._trackers: list[Tracker] = []
        self.restart()

    def restart(self, after_step: int | None = None) -> None:
        """Forget what was seen: the state is another now.

        Args:
            after_step: The step that training goes on from. What was logged up to there was found
                or not found by who logged it; it is told to the trackers, and not told again.
        """
        self._trackers = self._policy.start() if self._policy is not None else []
        if self._trackers and after_step is not None:
            self._look_back(after_step)

    def _look_back(self, after_step: int) -> None:
        try:
            log = read_metrics(self._store, self._run)
        except HoldfastError as error:
            _log.warning("The watch of run %r begins anew: %s", self._run, error)
            return
        for tracker in self._trackers:
            for step, values in _past(log, tracker, after_step):
                due = tracker.due(values)
                tracker.take(step, {name: values[name] for name in due})

    def look(self, step: int, metrics: Mapping[str, Any] | None) -> None:
        """Look at the metrics of a step that is done; warns of what is found."""
        if not self._trackers or not metrics:
            return
        wanted = [(tracker, tracker.due(metrics)) for tracker in self._trackers]
        # Only what a tracker looks at: reading a metric may mean waiting for a device.
        values = clean_metrics({name: metrics[name] for _, names in wanted for name in names})
        for tracker, names in wanted:
            found = tracker.take(step, {name: values[name] for name in names})
            if found is not None:
                self._tell(found)

    def _tell(self, found: Finding) -> None:
        journal.record(
            self._store,
            self._run,
            found.kind,
            step=found.told_step,
            metric=found.metric,
            since_step=found.since_step,
        )
        _log.warning("%s: %s. %s", found.kind.capitalize(), found.text, self._way_back(found))

    def _way_back(self, found: Finding) -> str:
        try:
            return self._looked_up(found)
        except HoldfastError as error:
            return f"Which checkpoint is best cannot be told: {error}"

    def _looked_up(self, found: Finding) -> str:
        assert self._policy is not None
        records = commits.good_commits(self._store, self._run)
        if found.kind == "divergence":
            return self._to_step(records, found.since_step)
        for metric, mode in self._policy.goal:
            if metric == found.metric:
                return self._to_best(records, metric, mode)
        raise AssertionError("a finding's metric is one of its policy's")

    def _to_best(self, records: Sequence[CommitRecord], metric: str, mode: Mode) -> str:
        sign = 1 if mode == "min" else -1
        ranked = rankable(records, metric)
        if not ranked:
            step = self._best_step(metric, mode)
            if step is not None:
                return self._to_step(records, step)
            return f"No checkpoint has {metric}: give metrics= with each save to go back by it."
        best = min(ranked, key=lambda r: (sign * r.metrics[metric], r.seq))
        return self._advice(records, best, best_name(metric, mode))

    def _best_step(self, metric: str, mode: Mode) -> int | None:
        """Return the step at which a metric was best, of all that were logged."""
        steps, values = read_metrics(self._store, self._run).series(metric)
        finite = np.isfinite(values)
        if not finite.any():
            return None
        pick = np.argmin if mode == "min" else np.argmax
        return int(steps[finite][pick(values[finite])])

    def _to_step(self, records: Sequence[CommitRecord], step: int) -> str:
        before = [record for record in records if record.step <= step]
        if not before:
            return "There is no checkpoint from before it."
        return self._advice(records, before[-1], str(before[-1].step))

    def _advice(self, records: Sequence[CommitRecord], to: CommitRecord, name: str) -> str:
        back = sum(record.seq > to.seq for record in records)
        which = "best" if name.startswith("best:") else "the last one before it"
        return (
            f"{which.capitalize()} is {self._run}@{to.step}, {back} checkpoint(s) back: "
            f"'holdfast rollback {self._run}@{name}' or ckpt.rollback({name!r}) brings it back."
        )


def _past(
    log: MetricsLog, tracker: Tracker, after_step: int
) -> Iterator[tuple[int, Mapping[str, float]]]:
    """Yield steps and what a tracker looks at of them, as far back as it is worth while."""
    rows = np.unique(np.concatenate([log.rows_of(name) for name in tracker.names]))
    rows = rows[log.counts[rows] & (log.steps[rows] <= after_step)][-tracker.memory :]
    logged = {name: set(log.rows_of(name).tolist()) for name in tracker.names}
    for row in rows.tolist():
        there = (name for name, of in logged.items() if row in of)
        yield int(log.steps[row]), {name: float(log.values[name][row]) for name in there}
