"""The best value of each metric of a run, and where it was."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.history.summary import RunSummary
from holdfast.wording.numbers import higher_is_better, mode_of


@dataclass(frozen=True, slots=True)
class Best:
    """The best value that a metric had in a run, and where."""

    metric: str
    highest: bool
    value: float
    step: int


def bests(summary: RunSummary) -> list[Best]:
    """Return each metric's best value: the lowest, or the highest where its name suggests so."""
    return [
        Best(name, highest, found.value, found.step)
        for name in summary.lowest
        for highest in [higher_is_better(name)]
        for found in [(summary.highest if highest else summary.lowest)[name]]
    ]


def judged_bests(summary: RunSummary) -> list[Best]:
    """Return the best values of those metrics whose name suggests which way is better."""
    return [best for best in bests(summary) if mode_of(best.metric) is not None]
