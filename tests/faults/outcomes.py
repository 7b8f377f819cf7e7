"""What a trial ended in: a pure decision from how the operation ended and what was found after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Outcome(Enum):
    """What became of an operation under a fault. The first three are good."""

    DONE = "done"
    RESUMED = "resumed from the last good one"
    REFUSED = "refused with a clear error"
    SILENT = "silently different"
    LOST = "a committed checkpoint lost"
    UNUSABLE = "the store left unusable"
    UNCLEAR = "an error that says nothing"
    CRASHED = "the process crashed"
    STUCK = "never ended"

    @property
    def is_good(self) -> bool:
        return self in (Outcome.DONE, Outcome.RESUMED, Outcome.REFUSED)


class How(Enum):
    """How the process that did the operation ended."""

    RETURNED = "returned"
    DIFFERED = "returned, but not what it should"
    REFUSED = "raised an error of holdfast's"
    RAISED = "raised another error"
    STRUCK = "ended by the fault itself"
    CRASHED = "ended by a signal that nobody sent"
    STUCK = "did not end"


@dataclass(frozen=True, slots=True)
class Ended:
    """How an operation ended, and what it told; ``facts`` are those of its error."""

    how: How
    told: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at the store found after the operation.

    Attributes:
        lost: Steps that were committed and are not there, or cannot be loaded.
        differing: What is there and is not what was saved, or should not be seen.
        unusable: What went wrong when the store was used again.
    """

    lost: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "; ".join((*self.lost, *self.differing, *self.unusable))


@dataclass(frozen=True, slots=True)
class Trial:
    """One operation under one fault.

    Attributes:
        fault: What struck, as the row of the table is called.
        operation: What was struck.
        outcome: What it ended in.
        where: The very fault, so that it can be made again.
        told: The error, or what is wrong.
    """

    fault: str
    operation: str
    outcome: Outcome
    where: str = ""
    told: str = ""


def outcome_of(ended: Ended, found: Found) -> Outcome:
    """Decide what a trial ended in; what is worst counts.

    >>> outcome_of(Ended(How.RETURNED), Found()).value
    'done'
    >>> outcome_of(Ended(How.STRUCK), Found(lost=("run@3",))).value
    'a committed checkpoint lost'
    """
    if found.differing or ended.how is How.DIFFERED:
        return Outcome.SILENT
    if found.lost:
        return Outcome.LOST
    if found.unusable:
        return Outcome.UNUSABLE
    return {
        How.RETURNED: Outcome.DONE,
        How.REFUSED: Outcome.REFUSED if ended.told.strip() else Outcome.UNCLEAR,
        How.RAISED: Outcome.UNCLEAR,
        How.STRUCK: Outcome.RESUMED,
        How.CRASHED: Outcome.CRASHED,
        How.STUCK: Outcome.STUCK,
    }[ended.how]


@dataclass(slots=True)
class Cell:
    """How often each outcome came, for one fault and one operation."""

    counts: dict[Outcome, int] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        self.counts[outcome] = self.counts.get(outcome, 0) + 1

    @property
    def is_good(self) -> bool:
        return all(outcome.is_good for outcome in self.counts)

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def cells(trials: Iterable[Trial]) -> dict[str, dict[str, Cell]]:
    """Return the matrix: for each fault, for each operation, what came of it."""
    matrix: dict[str, dict[str, Cell]] = {}
    for trial in trials:
        row = matrix.setdefault(trial.fault, {})
        row.setdefault(trial.operation, Cell()).add(trial.outcome)
    return matrix
