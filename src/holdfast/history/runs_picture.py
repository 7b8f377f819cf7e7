"""What a plot of several runs shows: a panel for each metric, in it a curve for each run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.errors import NotFound, UsageError
from holdfast.history.info import CheckpointInfo
from holdfast.history.run_picture import Panel, best_point
from holdfast.policy.checks import Mode
from holdfast.policy.curve import Curve

# More curves than this on one pair of axes cannot be told apart.
MOST_RUNS = 8


@dataclass(frozen=True, slots=True)
class RunsPicture:
    """The metrics of several runs in panels, and the steps of their checkpoints.

    Attributes:
        runs: Their names, in the order in which they were asked for.
        panels: One for each metric, those that several runs have first; its curves are named by
            their runs.
        checkpoint_steps: The steps of each run's checkpoints.
    """

    runs: tuple[str, ...]
    panels: tuple[Panel, ...]
    checkpoint_steps: Mapping[str, tuple[int, ...]]

    def saved_on(self, curve: str) -> tuple[int, ...]:
        """Return the steps of the checkpoints that belong to a curve."""
        return self.checkpoint_steps[curve]


def check_runs(runs: Sequence[str]) -> tuple[str, ...]:
    """Return the runs to show together, each once.

    Raises:
        UsageError: They are none, or too many to be told apart.
    """
    found = tuple(dict.fromkeys(runs))
    if not found:
        raise UsageError("No run was chosen: one must be named with run=, and more can be.")
    if len(found) > MOST_RUNS:
        raise UsageError(f"At most {MOST_RUNS} runs are shown together, not {len(found)}.")
    return found


def runs_picture_of(
    curves: Mapping[str, Mapping[str, Curve]],
    logs: Mapping[str, Sequence[CheckpointInfo]],
    metrics: Sequence[str],
    mode_of: Callable[[str], Mode | None],
) -> RunsPicture:
    """Return what to show of several runs.

    Args:
        curves: The metrics of each run.
        logs: The checkpoints of each run.
        metrics: Those to show; none means all.
        mode_of: Says which way a metric is better; of one that has none, no best is told.

    Raises:
        NotFound: None of the runs has a metric of such a name.
    """
    holders = Counter(name for of_run in curves.values() for name in of_run)
    if absent := [name for name in metrics if name not in holders]:
        known = ", ".join(holders) or "none"
        raise NotFound(
            f"None of these runs has a metric {absent[0]!r}. Metrics there: {known}.",
            metric=absent[0],
        )
    # sorted() keeps the order of those that are alike.
    shown = dict.fromkeys(metrics or sorted(holders, key=lambda name: holders[name] < 2))
    panels = tuple(
        _panel(name, {run: of_run[name] for run, of_run in curves.items() if name in of_run}, mode)
        for name in shown
        for mode in [mode_of(name)]
    )
    steps = {run: tuple(sorted({info.step for info in log})) for run, log in logs.items()}
    return RunsPicture(tuple(curves), panels, steps)


def _panel(metric: str, curves: Mapping[str, Curve], mode: Mode | None) -> Panel:
    if mode is None:
        return Panel(metric, curves, None, ())
    sign = 1 if mode == "min" else -1
    bests = {run: best for run, curve in curves.items() if (best := best_point(curve, mode))}
    run = min(bests, key=lambda name: sign * bests[name][1], default=None)
    return Panel(metric, curves, bests[run] if run is not None else None, (), run)
