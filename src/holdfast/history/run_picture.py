"""What a plot of a run shows: curves, checkpoints on them, where something began to go wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.errors import NotFound
from holdfast.history.info import CheckpointInfo
from holdfast.policy.checks import Mode
from holdfast.policy.curve import Curve
from holdfast.policy.divergence import DivergenceRule, find_divergence
from holdfast.policy.finding import Finding
from holdfast.policy.metric_pairs import metric_pairs
from holdfast.policy.overfitting import find_overfitting

# Validation that climbs beside its training metric is over-fitting, and told as such.
_JUMPS = DivergenceRule(climb_window=None)


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves that share an axis.

    Attributes:
        title: What they are of.
        curves: The curves by name; a training metric before its validation metric.
        best: Step and value of the best point there is, if there is such.
        findings: What goes wrong there.
        best_of: The curve that the best point is on.
    """

    title: str
    curves: Mapping[str, Curve]
    best: tuple[int, float] | None
    findings: tuple[Finding, ...]
    best_of: str | None = None


@dataclass(frozen=True, slots=True)
class RunPicture:
    """A run's metrics in panels, and the steps of its checkpoints."""

    run: str
    panels: tuple[Panel, ...]
    checkpoint_steps: tuple[int, ...]

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that are shown: the one."""
        return (self.run,)

    def saved_on(self, curve: str) -> tuple[int, ...]:
        """Return the steps of the checkpoints that belong to a curve: to each, all."""
        return self.checkpoint_steps


def picture_of(
    run: str,
    curves: Mapping[str, Curve],
    log: Sequence[CheckpointInfo],
    metrics: Sequence[str],
    mode_of: Callable[[str], Mode | None],
) -> RunPicture:
    """Return what to show of a run.

    Args:
        run: Its name.
        curves: Its metrics.
        log: Its checkpoints.
        metrics: Those to show; none means all. With one of a pair the other is shown, too.
        mode_of: Says which way a metric is better; of one that has none, only the curve is shown.

    Raises:
        NotFound: The run has no metric of such a name, or none at all.
    """
    known = ", ".join(curves) or "none"
    for name in metrics or [""]:
        if (name and name not in curves) or not curves:
            which = f"metric {name!r}" if name else "metrics: give metrics= with its saves"
            raise NotFound(f"Run {run!r} has no {which}. Metrics there: {known}.", metric=name)
    pairs = {name: pair for pair in metric_pairs(curves) for name in pair}
    wanted = dict.fromkeys(pairs.get(name, (name,)) for name in metrics or curves)
    panels = tuple(_panel({name: curves[name] for name in names}, mode_of) for names in wanted)
    return RunPicture(run, panels, tuple(sorted({info.step for info in log})))


def _panel(curves: Mapping[str, Curve], mode_of: Callable[[str], Mode | None]) -> Panel:
    modes = {name: mode for name in curves if (mode := mode_of(name)) is not None}
    last = list(curves)[-1]
    is_pair = len(modes) == 2
    findings = [
        find_divergence(curves[name], name, _JUMPS if is_pair and name == last else None, mode)
        for name, mode in modes.items()
    ]
    if is_pair:
        (train, train_mode), (validation, mode) = modes.items()
        findings.append(
            find_overfitting(
                curves[train], curves[validation], validation, mode=mode, train_mode=train_mode
            )
        )
    best = best_point(curves[last], modes[last]) if last in modes else None
    told = tuple(finding for finding in findings if finding is not None)
    return Panel(" and ".join(curves), curves, best, told, last if best is not None else None)


def best_point(curve: Curve, mode: Mode) -> tuple[int, float] | None:
    """Return step and value of a curve's best point; None where no value is finite."""
    sign = 1 if mode == "min" else -1
    points = zip(curve.steps, curve.values, strict=True)
    finite = [(step, value) for step, value in points if math.isfinite(value)]
    return min(finite, key=lambda point: sign * point[1], default=None)
