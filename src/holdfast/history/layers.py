"""How the layers of a model moved from checkpoint to checkpoint of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from holdfast.errors import UsageError
from holdfast.history.diff.compare import NothingToCompare
from holdfast.history.diff.movement import Movement
from holdfast.history.diff.report import DiffReport, prefix_of
from holdfast.history.info import CheckpointInfo


@dataclass(frozen=True, slots=True)
class Layer:
    """The tensors below one prefix that ever changed; one value for each checkpoint.

    Attributes:
        prefix: What their paths begin with.
        norms: ‖x‖ of all of them together at each checkpoint.
        moved: ‖y − x‖ / ‖x‖ since the checkpoint before; NaN at the first.
    """

    prefix: str
    norms: tuple[float, ...]
    moved: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LayersOverTime:
    """The layers of a run, in tree order, at the steps of its checkpoints.

    ``n_frozen`` tensors never changed; they are in no layer.
    """

    run: str
    steps: tuple[int, ...]
    layers: tuple[Layer, ...]
    n_frozen: int
    read_bytes: int


def newest_line(log: Sequence[CheckpointInfo]) -> list[CheckpointInfo]:
    """Return a run's checkpoints by rising step; where training went back, what it did again."""
    line: list[CheckpointInfo] = []
    for info in log:
        while line and line[-1].step >= info.step:
            line.pop()
        line.append(info)
    return line


def layers_over_time(
    run: str,
    line: Sequence[CheckpointInfo],
    compare: Callable[[CheckpointInfo, CheckpointInfo], DiffReport],
    depth: int,
) -> LayersOverTime:
    """Compare each checkpoint with the one before it.

    Args:
        run: Name of the run.
        line: Its checkpoints, oldest first.
        compare: Compares two of them.
        depth: How many components of their paths make a layer.

    Raises:
        UsageError: There are fewer than two, or none of them has anything that is chosen.
    """
    if len(line) < 2:
        raise UsageError(
            f"Run {run!r} has {len(line)} checkpoint(s); movement is from one to the next.", run=run
        )
    tracks: dict[str, list[Movement | None]] = {}
    read_bytes, nothing = 0, list[NothingToCompare]()
    for i, pair in enumerate(pairwise(line)):
        try:
            report = compare(*pair)
        except NothingToCompare as error:
            # Of what comes later, or goes, these two have nothing.
            nothing.append(error)
            continue
        read_bytes += report.read_bytes
        for tensor in report.tensors:
            if tensor.same_as is None:
                track = tracks.setdefault(tensor.path, [None] * (len(line) - 1))
                track[i] = tensor.movement
    if len(nothing) == len(line) - 1:
        raise nothing[-1]
    moving = {path: track for path, track in tracks.items() if any(map(_is_change, track))}
    by_prefix: dict[str, list[list[Movement | None]]] = {}
    for path, track in moving.items():
        by_prefix.setdefault(prefix_of(path, depth), []).append(track)
    return LayersOverTime(
        run,
        tuple(info.step for info in line),
        tuple(_layer(prefix, found) for prefix, found in by_prefix.items()),
        len(tracks) - len(moving),
        read_bytes,
    )


def _is_change(movement: Movement | None) -> bool:
    return movement is not None and movement.n_changed > 0


def _layer(prefix: str, tracks: Sequence[Sequence[Movement | None]]) -> Layer:
    squares = [_squares(track) for track in tracks]
    norms = [math.sqrt(math.fsum(found)) for found in zip(*squares, strict=True)]
    changes = [
        math.sqrt(math.fsum(m.sum_sq_change for m in found if m is not None))
        for found in zip(*tracks, strict=True)
    ]
    moved = [
        change / norm if norm else (math.inf if change else 0.0)
        for change, norm in zip(changes, norms, strict=False)
    ]
    return Layer(prefix, tuple(norms), (math.nan, *moved))


def _squares(track: Sequence[Movement | None]) -> list[float]:
    """Return Σ|x|² of a tensor at each checkpoint; between changes it stays."""
    first = next(movement for movement in track if movement is not None)
    found = [first.sum_sq_before]
    for movement in track:
        found.append(found[-1] if movement is None else movement.sum_sq_after)
    return found
