"""A small picture of a curve."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from holdfast.policy.curve import Curve, thinned
from holdfast.wording.numbers import mode_of

_WIDTH, _HEIGHT, _EDGE = 120, 28, 3
_BINS = 60
_EMPTY = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}"></svg>'


def sparkline(curves: Mapping[str, Curve], metric: str | None = None) -> str:
    """Return an SVG of a metric; of the one that says most of a run where none is named."""
    chosen = curves.get(metric or main_metric(curves) or "")
    points = _points(chosen) if chosen is not None else []
    if len(points) < 2:
        return _EMPTY
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in _placed(points))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}"><polyline points="{line}" fill="none" '
        'stroke="#3d7ebf" stroke-width="1.5" stroke-linejoin="round"/></svg>'
    )


def main_metric(names: Iterable[str]) -> str | None:
    """Return the metric that says most of a run: the last that has a good direction.

    >>> main_metric(["loss", "val_loss", "lr"]), main_metric(["lr"]), main_metric([])
    ('val_loss', 'lr', None)
    """
    every = list(names)
    judged = [name for name in every if mode_of(name) is not None]
    return next(iter(judged[-1:] or every[:1]), None)


def _points(curve: Curve) -> list[tuple[int, float]]:
    finite = [p for p in zip(curve.steps, curve.values, strict=True) if math.isfinite(p[1])]
    return thinned(finite, _BINS)


def _placed(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    low, high = min(v for _, v in points), max(v for _, v in points)
    first, last = points[0][0], points[-1][0]
    room_x, room_y = _WIDTH - 2 * _EDGE, _HEIGHT - 2 * _EDGE
    return [
        (
            _EDGE + room_x * (step - first) / ((last - first) or 1),
            _EDGE + room_y * (1 - (value - low) / ((high - low) or 1)),
        )
        for step, value in points
    ]
