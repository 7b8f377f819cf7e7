"""Which checkpoints can be the best of a run by a metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar


class Ranked(Protocol):
    """What there is to know of a checkpoint that may be the best."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """What was measured at its step."""

    @property
    def not_finite(self) -> int | None:
        """Elements of its arrays that are NaN or infinite; None where nobody looked."""


R = TypeVar("R", bound=Ranked)


def has_value(candidate: Ranked, metric: str) -> bool:
    """Say whether a checkpoint has a metric, and a finite value of it."""
    return math.isfinite(candidate.metrics.get(metric, math.nan))


def rankable(candidates: Iterable[R], metric: str) -> list[R]:
    """Return the checkpoints that can be the best by a metric, in the order in which they came.

    One without a finite value of the metric never is, nor one whose arrays were found to hold
    values that are not finite: a loss that was measured before an update says nothing of what the
    update left.
    """
    return [c for c in candidates if has_value(c, metric) and not c.not_finite]


def passed_over(candidates: Iterable[R], metric: str) -> list[R]:
    """Return those that have the metric but cannot be the best for what their arrays hold."""
    return [c for c in candidates if has_value(c, metric) and c.not_finite]
