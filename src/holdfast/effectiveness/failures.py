"""Models of failure: how long many attempts last, each from the moment at which it begins.

All draw for many histories at once. Times are in seconds; ``started_s`` is the time since the
beginning of each history.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from holdfast.errors import UsageError

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
DAY_S = 86400.0
# A failure at a time of its own that is nearer than this is the one that the attempt follows: the
# sum of what attempts took is rounded, and would else meet it again and again.
_JUST_NOW_S = 1e-6


class FailureModel(ABC):
    """Says when attempts fail."""

    __slots__ = ()

    @abstractmethod
    def begin(self, rng: np.random.Generator, count: int) -> Drawing:
        """Return what draws for that many histories."""


class Drawing(ABC):
    """Draws for some histories; may remember something of each."""

    @abstractmethod
    def lasts_s(self, which: Indices, started_s: Floats) -> Floats:
        """Return how long the attempts of some histories last that begin at some times."""


@final
@dataclass(frozen=True, slots=True)
class Exponential(FailureModel):
    """Failures that do not age: the same rate at all times."""

    mtbf_s: float

    def begin(self, rng: np.random.Generator, count: int) -> Drawing:
        """Return what draws."""
        return _Independent(lambda n, _which: rng.exponential(self.mtbf_s, n))


@final
@dataclass(frozen=True, slots=True)
class Uncertain(FailureModel):
    """Exponential, each history at a rate of its own: what is believed of the rate."""

    mtbf_s: Floats

    def begin(self, rng: np.random.Generator, count: int) -> Drawing:
        """Return what draws; history i has the rate i, counted round."""
        mine = np.resize(self.mtbf_s, count)
        return _Independent(lambda n, which: rng.exponential(mine[which], n))


@final
@dataclass(frozen=True, slots=True)
class Weibull(FailureModel):
    """Failures that depend on how long an attempt lasts: below shape 1 most come early.

    The mean is ``mtbf_s`` whatever the shape (infant mortality: the hazard of jobs is highest in
    their first minutes, arXiv 2410.21680).
    """

    mtbf_s: float
    shape: float

    def begin(self, rng: np.random.Generator, count: int) -> Drawing:
        """Return what draws."""
        scale_s = self.mtbf_s / math.gamma(1.0 + 1.0 / self.shape)
        return _Independent(lambda n, _which: scale_s * rng.weibull(self.shape, n))


@final
@dataclass(frozen=True, slots=True)
class Relapsing(FailureModel):
    """Failures that come in groups: with a probability, another soon follows a restart."""

    usual: FailureModel
    probability: float
    soon_s: float

    def begin(self, rng: np.random.Generator, count: int) -> Drawing:
        """Return what draws; the first attempt of a history follows no failure."""
        return _Relapses(self, self.usual.begin(rng, count), rng, count)


@final
@dataclass(frozen=True, slots=True)
class Scheduled(FailureModel):
    """Pre-emptions at fixed times: every ``every_s``, counted from the beginning of a history."""

    every_s: float

    def begin(self, rng: np.random.Generator, count: int) -> Drawing:
        """Return what draws."""
        return _Scheduled(self.every_s)


@final
@dataclass(frozen=True, slots=True)
class Replayed(FailureModel):
    """The failures of a trace, counted round; each history begins somewhere else in it."""

    at_s: tuple[float, ...]
    length_s: float

    def begin(self, rng: np.random.Generator, count: int) -> Drawing:
        """Return what draws."""
        return _Replay(self, rng.uniform(0.0, self.length_s, count))


@final
@dataclass(frozen=True, slots=True)
class FirstOf(FailureModel):
    """Several causes; whichever comes first ends the attempt."""

    causes: tuple[FailureModel, ...]

    def begin(self, rng: np.random.Generator, count: int) -> Drawing:
        """Return what draws."""
        return _FirstOf([cause.begin(rng, count) for cause in self.causes])


def by_nodes(nodes: int, per_node_day: float, exponent: float = 1.0) -> Exponential:
    """Return a model by the number of nodes.

    Args:
        nodes: How many nodes the job has.
        per_node_day: Failures of a node in a day.
        exponent: The rate grows with the number of nodes to this power; 1 if nodes fail alone.

    >>> round(by_nodes(1500, 6.5e-3).mtbf_s)
    8862
    """
    return Exponential(DAY_S / (per_node_day * nodes**exponent))


def replayed(at_s: Sequence[float], length_s: float | None = None) -> Replayed:
    """Return a model that replays failures at some times.

    Raises:
        UsageError: There are none, or they are not within the length.
    """
    times = sorted(float(t) for t in at_s)
    if not times:
        raise UsageError("A trace without a failure says nothing about failures.")
    # As much again after the last failure as there is between two on average.
    whole_s = length_s if length_s is not None else times[-1] * (1.0 + 1.0 / len(times))
    if whole_s <= _JUST_NOW_S:
        raise UsageError(
            f"All failures of the trace ({len(times)}) are at the moment at which it begins, so "
            "that nobody knows how far apart they are. It takes two moments, or the times at which "
            "something began in a column start_time."
        )
    if times[0] < 0.0 or times[-1] > whole_s:
        raise UsageError(
            f"Failures from {times[0]:g} s to {times[-1]:g} s are not within {whole_s:g} s."
        )
    return Replayed(tuple(times), whole_s)


class _Independent(Drawing):
    def __init__(self, draw: Callable[[int, Indices], Floats]) -> None:
        self._draw = draw

    def lasts_s(self, which: Indices, started_s: Floats) -> Floats:
        return self._draw(len(which), which)


class _Relapses(Drawing):
    def __init__(
        self, model: Relapsing, usual: Drawing, rng: np.random.Generator, count: int
    ) -> None:
        self._model, self._usual, self._rng = model, usual, rng
        self._has_failed = np.zeros(count, bool)

    def lasts_s(self, which: Indices, started_s: Floats) -> Floats:
        usual_s = self._usual.lasts_s(which, started_s)
        soon_s = self._rng.exponential(self._model.soon_s, len(which))
        relapses = self._rng.random(len(which)) < self._model.probability
        relapses &= self._has_failed[which]
        self._has_failed[which] = True
        return np.where(relapses, np.minimum(soon_s, usual_s), usual_s)


class _Scheduled(Drawing):
    def __init__(self, every_s: float) -> None:
        self._every_s = every_s

    def lasts_s(self, which: Indices, started_s: Floats) -> Floats:
        left_s = self._every_s - np.mod(started_s, self._every_s)
        return np.where(left_s <= _just_now_s(started_s), left_s + self._every_s, left_s)


class _Replay(Drawing):
    def __init__(self, model: Replayed, offsets_s: Floats) -> None:
        once_s = np.array(model.at_s)
        # Who stands right before the end of one round may have to look beyond the next.
        self._at_s = np.concatenate([once_s + i * model.length_s for i in range(3)])
        self._length_s, self._offsets_s = model.length_s, offsets_s

    def lasts_s(self, which: Indices, started_s: Floats) -> Floats:
        so_far_s = self._offsets_s[which] + started_s
        now_s = np.mod(so_far_s, self._length_s)
        seen_s = now_s + _just_now_s(so_far_s)
        following = self._at_s[np.searchsorted(self._at_s, seen_s, side="right")]
        lasts: Floats = following - now_s
        return lasts


class _FirstOf(Drawing):
    def __init__(self, drawings: Sequence[Drawing]) -> None:
        self._drawings = drawings

    def lasts_s(self, which: Indices, started_s: Floats) -> Floats:
        drawn = [drawing.lasts_s(which, started_s) for drawing in self._drawings]
        first: Floats = np.minimum.reduce(drawn)
        return first


def _just_now_s(at_s: Floats) -> Floats:
    """Return what is no time at all: a microsecond, or what times so large are rounded by."""
    return np.maximum(_JUST_NOW_S, 8.0 * np.spacing(at_s))
