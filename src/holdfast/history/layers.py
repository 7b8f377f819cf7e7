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

# The movement of a tensor from the i-th checkpoint to the next, for each i where both have it; None
# where digests told that it has not changed.
_Track = dict[int, Movement | None]


@dataclass(frozen=True, slots=True)
class Layer:
    """The tensors below one prefix that ever changed; one value for each checkpoint.

    Attributes:
        prefix: What their paths begin with.
        norms: ‖x‖ at each checkpoint of those that are there; NaN where none is, and where one has
            no finite element.
        moved: ‖y − x‖ / ‖x‖ since the checkpoint before of those that both have; NaN where there
            are none, at the first say, and where it cannot be told.
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
    tracks: dict[str, _Track] = {}
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
                tracks.setdefault(tensor.path, {})[i] = tensor.movement
    if len(nothing) == len(line) - 1:
        raise nothing[-1]
    moving = {path: track for path, track in tracks.items() if any(map(_is_change, track.values()))}
    by_prefix: dict[str, list[_Track]] = {}
    for path, track in moving.items():
        by_prefix.setdefault(prefix_of(path, depth), []).append(track)
    return LayersOverTime(
        run,
        tuple(info.step for info in line),
        tuple(_layer(prefix, found, len(line)) for prefix, found in by_prefix.items()),
        len(tracks) - len(moving),
        read_bytes,
    )


def _is_change(movement: Movement | None) -> bool:
    return movement is not None and movement.n_changed > 0


def _layer(prefix: str, tracks: Sequence[_Track], n_checkpoints: int) -> Layer:
    squares = [_squares(track, n_checkpoints) for track in tracks]
    norms = [_root(found) for found in zip(*squares, strict=True)]
    moved = [_moved(i, tracks, squares) for i in range(n_checkpoints - 1)]
    return Layer(prefix, tuple(norms), (math.nan, *moved))


def _squares(track: _Track, n_checkpoints: int) -> list[float | None]:
    """Return Σ|x|² of a tensor at each checkpoint; None where it is not there, or never read."""
    found: list[float | None] = [None] * n_checkpoints
    for i, movement in track.items():
        if movement is None:
            continue
        is_told = movement.n_compared or not movement.n_elems
        found[i] = _more(found[i], movement.sum_sq_before if is_told else math.nan)
        found[i + 1] = movement.sum_sq_after if is_told else math.nan
    # Where it has not changed nothing was read: it is what it was, or what it will be.
    still = [i for i, movement in track.items() if movement is None]
    for i in still:
        if found[i + 1] is None:
            found[i + 1] = found[i]
    for i in reversed(still):
        if found[i] is None:
            found[i] = found[i + 1]
    return found


def _more(one: float | None, other: float) -> float:
    """Return what two pairs say of the checkpoint between; each leaves out what has no number."""
    if one is None or math.isnan(one):
        return other
    return one if math.isnan(other) else max(one, other)


def _moved(pair: int, tracks: Sequence[_Track], squares: Sequence[Sequence[float | None]]) -> float:
    both = [
        (track[pair], of[pair]) for track, of in zip(tracks, squares, strict=True) if pair in track
    ]
    change = _root([_square_of_change(movement) for movement, _ in both])
    norm = _root([square for _, square in both])
    if not change or math.isnan(change):
        return change
    return change / norm if norm else math.inf


def _square_of_change(movement: Movement | None) -> float:
    if movement is None or not movement.n_changed:
        return 0.0
    return movement.sum_sq_change if movement.n_compared else math.nan


def _root(squares: Sequence[float | None]) -> float:
    """Return the root of the sum of what is known; NaN where nothing is."""
    known = [square for square in squares if square is not None]
    return math.sqrt(math.fsum(known)) if known else math.nan
