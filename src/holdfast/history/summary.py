"""A run at a glance: how many checkpoints, the newest, and the extremes of each metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.history.info import CheckpointInfo


@dataclass(frozen=True, slots=True)
class Extreme:
    """A value of a metric, and the step that had it first."""

    value: float
    step: int


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What there is to say of a run in a line.

    Attributes:
        n_checkpoints: How many can be read.
        latest: The newest of them.
        lowest: The lowest value of each metric, NaN apart, in the order in which metrics came up;
            checkpoints with values that are not finite have none.
        highest: The highest value of each.
        damaged: Why commits that cannot be read cannot.
        set_back: How the run contradicts the head that a trust policy knows of it, if it does.
    """

    n_checkpoints: int = 0
    latest: CheckpointInfo | None = None
    lowest: Mapping[str, Extreme] = field(default_factory=dict)
    highest: Mapping[str, Extreme] = field(default_factory=dict)
    damaged: Sequence[str] = ()
    set_back: str | None = None


def summary_of(infos: Sequence[CheckpointInfo], damaged: Sequence[str] = ()) -> RunSummary:
    """Return the summary of a run's checkpoints, oldest first."""
    names = list(dict.fromkeys(name for info in infos for name in info.metrics))
    found = {name: list(_values(infos, name)) for name in names}
    return RunSummary(
        len(infos),
        infos[-1] if infos else None,
        {name: min(of, key=lambda e: e.value) for name, of in found.items() if of},
        {name: max(of, key=lambda e: e.value) for name, of in found.items() if of},
        tuple(damaged),
    )


def _values(infos: Iterable[CheckpointInfo], name: str) -> Iterable[Extreme]:
    for info in infos:
        if info.not_finite:
            continue
        value = info.metrics.get(name, math.nan)
        if not math.isnan(value):
            yield Extreme(value, info.step)
