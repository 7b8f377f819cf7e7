"""The metrics of runs as a picture: curves, checkpoints, the best, where it began to go wrong."""

from __future__ import annotations

import math
from itertools import groupby
from typing import Any

from holdfast.history.run_picture import Panel, RunPicture
from holdfast.history.runs_picture import RunsPicture
from holdfast.pictures.files import COLOURS, literal, picture
from holdfast.policy.curve import Curve, thinned

_PANEL_HEIGHT_IN = 3.0
# More than a screen has pixels.
_PLACES = 4000
# As long as the panel is high.
_LONGEST = 40
# Farther out matplotlib finds no ticks.
_FARTHEST = 1e300


def draw_metrics(shown: RunPicture | RunsPicture, path: str) -> None:
    """Draw the metrics of a run, or of several, into a .png or .svg file."""
    height = _PANEL_HEIGHT_IN * len(shown.panels) + 0.6
    with picture(path, 9.0, height) as figure:
        all_axes = figure.subplots(len(shown.panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(all_axes, shown.panels, strict=True):
            _draw_panel(axes, panel, shown)
        all_axes[-1].set_xlabel("step")
        figure.suptitle(literal(", ".join(map(_short, shown.runs))))


def _draw_panel(axes: Any, panel: Panel, shown: RunPicture | RunsPicture) -> None:
    for name, full in panel.curves.items():
        colour, saved = _colour(name, panel, shown), set(shown.saved_on(name))
        curve = Curve(full.steps, [_near(value) for value in full.values])
        line = _thin(curve)
        axes.plot(line.steps, line.values, color=colour, linewidth=1.4, label=literal(_short(name)))
        at = [i for i, step in enumerate(curve.steps) if step in saved]
        axes.plot(
            [curve.steps[i] for i in at],
            [curve.values[i] for i in at],
            "o",
            color=colour,
            markersize=4,
        )
    axes.plot([], [], "o", color="0.4", markersize=4, label="checkpoint")
    if panel.best is not None:
        step, value = panel.best
        of = f" of {literal(_short(str(panel.best_of)))}" if len(shown.runs) > 1 else ""
        label = f"best, @{step}{of}"
        axes.plot(step, _near(value), "*", color="black", markersize=11, label=label)
    for finding in panel.findings:
        style = "--" if finding.kind == "overfitting" else ":"
        word = "over-fitting" if finding.kind == "overfitting" else "divergence"
        label = f"{word} since @{finding.since_step}"
        axes.axvline(finding.since_step, color="0.3", linestyle=style, label=label)
        axes.axvspan(finding.since_step, _last_step(panel), color="0.5", alpha=0.12, linewidth=0)
    axes.set_ylabel(literal(_short(panel.title)))
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    if not any(math.isfinite(v) for curve in panel.curves.values() for v in curve.values):
        axes.text(0.5, 0.5, "no finite value", transform=axes.transAxes, ha="center")


def _colour(curve: str, panel: Panel, shown: RunPicture | RunsPicture) -> str:
    """Return the colour of a curve: of several runs each has the same one in all panels."""
    names = shown.runs if len(shown.runs) > 1 else tuple(panel.curves)
    return COLOURS[names.index(curve) % len(COLOURS)]


def _thin(curve: Curve) -> Curve:
    """Return what can be seen of a curve, in pieces between values that are not finite."""
    if len(curve) <= _PLACES:
        return curve
    pairs = list(zip(curve.steps, curve.values, strict=True))
    kept: list[tuple[int, float]] = []
    for finite, group in groupby(pairs, key=lambda point: math.isfinite(point[1])):
        piece = list(group)
        kept += thinned(piece, max(_PLACES * len(piece) // len(pairs), 1)) if finite else piece[:1]
    return Curve([step for step, _ in kept], [value for _, value in kept])


def _short(name: str) -> str:
    """Return a name, or its two ends where there is no room for all of it."""
    half = _LONGEST // 2
    return name if len(name) <= _LONGEST else f"{name[:half]}…{name[-half:]}"


def _near(value: float) -> float:
    """Return a value, or one like it that can be drawn."""
    return math.copysign(_FARTHEST, value) if _FARTHEST < abs(value) < math.inf else value


def _last_step(panel: Panel) -> int:
    return max(curve.steps[-1] for curve in panel.curves.values())
