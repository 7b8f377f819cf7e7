"""What retention needs to know of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol


class Candidate(Protocol):
    """A checkpoint that may stay or go; ``created`` is aware of its time zone."""

    @property
    def id(self) -> str:
        """Unique id."""

    @property
    def step(self) -> int:
        """The step it was saved after."""

    @property
    def seq(self) -> int:
        """Its number in the order of saving."""

    @property
    def created(self) -> datetime:
        """When it was saved."""

    @property
    def epoch(self) -> float | None:
        """Epochs finished when it was saved; None where nobody counted them."""

    @property
    def not_finite(self) -> int | None:
        """Elements of its arrays that are NaN or infinite; None where nobody looked."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """What was measured at its step."""

    @property
    def tags(self) -> Sequence[str]:
        """The names it was given."""
