"""Two runs compared: leaf by leaf, metric by metric."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np

from holdfast.drill.leaves import Leaf, Saved, ties
from holdfast.drill.record import Record
from holdfast.drill.series import Series, equal, is_volatile, key_of
from holdfast.errors import HoldfastError

What = Literal["missing", "added", "type", "shape", "value", "untied"]


@dataclass(frozen=True, slots=True)
class LeafDifference:
    """A leaf that is not the same in two runs.

    Attributes:
        saved: The checkpoint or file that it is in.
        path: Its path there.
        what: How it differs.
        words: The two, side by side.
        distance: Of arrays of numbers: the norm of the difference by the norm of the first.
    """

    saved: str
    path: str
    what: What
    words: str
    distance: float | None = None


@dataclass(frozen=True, slots=True)
class SeriesDifference:
    """A metric that is not the same in two runs.

    Attributes:
        source: Where it was found.
        name: The metric.
        step: The first step at which it differs.
        expected: Its value there in the first run.
        found: Its value there in the second; None where it has none.
        n_steps: At how many steps it differs.
        largest: The largest difference.
    """

    source: str
    name: str
    step: float
    expected: float
    found: float | None
    n_steps: int
    largest: float

    @property
    def key(self) -> str:
        """What the metric is called among all metrics of a run."""
        return key_of(self.source, self.name)


@dataclass(frozen=True, slots=True)
class Difference:
    """How the second run differs from the first.

    Attributes:
        leaves: Leaves that differ.
        series: Metrics that differ, those that differ first first.
        missing: Checkpoints and files that the second does not have.
        n_leaves: How many leaves were compared.
        n_values: How many values of metrics were compared.
        n_arrays_equal: How many arrays are the same.
    """

    leaves: tuple[LeafDifference, ...] = ()
    series: tuple[SeriesDifference, ...] = ()
    missing: tuple[str, ...] = ()
    n_leaves: int = 0
    n_values: int = 0
    n_arrays_equal: int = 0

    @property
    def is_none(self) -> bool:
        """Whether both are the same."""
        return not (self.leaves or self.series or self.missing)

    @property
    def farthest(self) -> float:
        """The largest distance of any array, 0 where none differs."""
        return max((leaf.distance or 0.0 for leaf in self.leaves), default=0.0)


def compare(one: Record, other: Record, volatile: Collection[str] = ()) -> Difference:
    """Return how the end of one run differs from that of another.

    Args:
        one: The run that was never disturbed.
        other: The run to compare.
        volatile: Leaves, as ``leaf_name`` writes them, that are never the same twice.
    """
    pairs = [(saved, other.saved[key]) for key, saved in one.saved.items() if key in other.saved]
    found = [d for pair in pairs for d in _in_saved(*pair) if leaf_name(d) not in volatile]
    series, n_values = _in_series(one, other)
    differing = {(d.saved, d.path) for d in found}
    arrays = [
        (saved.key, path)
        for saved, _ in pairs
        for path, leaf in saved.leaves.items()
        if leaf.kind == "array"
    ]
    return Difference(
        leaves=tuple(found),
        series=tuple(sorted(series, key=lambda d: d.step)),
        missing=tuple(key for key in one.saved if key not in other.saved),
        n_leaves=sum(len(saved.leaves) for saved, _ in pairs),
        n_values=n_values,
        n_arrays_equal=sum(array not in differing for array in arrays),
    )


def leaf_name(difference: LeafDifference) -> str:
    """Return what a leaf is called among all checkpoints of a run."""
    return f"{difference.saved}: {difference.path}"


def _in_saved(one: Saved, other: Saved) -> list[LeafDifference]:
    found: list[LeafDifference] = []
    for path, leaf in one.leaves.items():
        counterpart = other.leaves.get(path)
        if counterpart is None:
            found.append(LeafDifference(one.key, path, "missing", f"{_text(leaf)} is not there"))
        elif leaf.digest != counterpart.digest:
            found.append(_changed(one, other, path, leaf, counterpart))
    for path in other.leaves.keys() - one.leaves.keys():
        words = f"{_text(other.leaves[path])} that was not there"
        found.append(LeafDifference(one.key, path, "added", words))
    for group in ties(one.leaves) - ties(other.leaves):
        names = sorted(group)
        if all(name in other.leaves for name in names):
            words = f"{' and '.join(names)} were one array, and are several"
            found.append(LeafDifference(one.key, names[0], "untied", words))
    return found


def _changed(one: Saved, other: Saved, path: str, leaf: Leaf, found: Leaf) -> LeafDifference:
    words = f"{_text(leaf)}, found {_text(found)}"
    if leaf.kind != found.kind or leaf.dtype != found.dtype:
        return LeafDifference(one.key, path, "type", words)
    if leaf.shape != found.shape:
        return LeafDifference(one.key, path, "shape", words)
    if leaf.kind != "array":
        return LeafDifference(one.key, path, "value", words)
    far = _distance(one, other, path)
    words = leaf.dtype if far is None else f"{leaf.dtype}, {far:.2g} of its norm away"
    return LeafDifference(one.key, path, "value", words, far)


def _distance(one: Saved, other: Saved, path: str) -> float | None:
    with contextlib.suppress(HoldfastError, OSError, ValueError, TypeError):
        a, b = one.array(path), other.array(path)
        if a is None or b is None or a.dtype.kind not in "fciub":
            return None
        wide = np.complex128 if a.dtype.kind == "c" else np.float64
        x, y = np.asarray(a, wide), np.asarray(b, wide)
        norm = float(np.linalg.norm(x))
        return float(np.linalg.norm(x - y)) / norm if norm > 0.0 else float(np.linalg.norm(y))
    return None


def _text(leaf: Leaf) -> str:
    if leaf.kind == "array":
        return f"{leaf.dtype} {leaf.shape}"
    return leaf.text or leaf.kind


def _in_series(one: Record, other: Record) -> tuple[list[SeriesDifference], int]:
    found: list[SeriesDifference] = []
    n_values = 0
    for key, series in one.series.items():
        counterpart = other.series.get(key)
        if is_volatile(series) or counterpart is None:
            continue
        n_values += len(series.values)
        # What the last life has not printed was printed by one before.
        begin = min(counterpart.values, default=0) if series.source == "printed" else None
        difference = _first(series, counterpart, begin)
        if difference is not None:
            found.append(difference)
    return found, n_values


def _first(one: Series, other: Series, begin: float | None) -> SeriesDifference | None:
    differing: list[tuple[float, float, float | None]] = []
    last = max(one.values, default=0)
    for step, value in sorted(one.values.items()):
        if begin is not None and step < begin:
            continue
        found = other.values.get(step)
        # What a process had not yet handed on when it was killed is lost, before the resume.
        if found is None and step < last:
            continue
        if found is None or not equal(value, found):
            differing.append((step, value, found))
    if not differing:
        return None
    gaps = [abs(value - found) for _, value, found in differing if found is not None]
    step, value, found = differing[0]
    largest = max((gap for gap in gaps if not np.isnan(gap)), default=0.0)
    return SeriesDifference(one.source, one.name, step, value, found, len(differing), largest)
