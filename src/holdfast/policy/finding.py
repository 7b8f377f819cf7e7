"""What a watch tells of a run that goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that goes wrong in a run.

    Attributes:
        kind: ``overfitting`` or ``divergence``.
        metric: The metric that tells it.
        since_step: Where the run was still good: of over-fitting the best evaluation, of
            divergence the last step before it.
        told_step: The step at which it was told; nothing behind it was looked at.
        text: In words.
    """

    kind: Literal["overfitting", "divergence"]
    metric: str
    since_step: int
    told_step: int
    text: str
