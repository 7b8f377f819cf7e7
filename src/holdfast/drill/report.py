"""What the drill has found, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from holdfast.drill.compare import Difference
from holdfast.drill.diagnosis.cause import Cause

# ``warned``: it did not go on by itself, or nobody saw it go on, but nothing wrong was trained on.
Status = Literal["passed", "failed", "warned", "skipped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the script under one fault.

    Attributes:
        fault: The fault's name.
        what: What was done, in words.
        status: Whether it resumed exactly.
        words: What happened, in words.
        causes: Why it is not the same in the end.
        difference: How the end differs; None where there was no end to compare.
        seconds: How long this took.
        resumed_at: The step that it went on with, if that is known.
        output: The last lines that it printed, where it did not end well.
        is_unseen: Whether its end is the same, but nobody saw whether it went on or began anew.
    """

    fault: str
    what: str
    status: Status
    words: str
    causes: tuple[Cause, ...] = ()
    difference: Difference | None = None
    seconds: float = 0.0
    resumed_at: int | None = None
    output: tuple[str, ...] = ()
    is_unseen: bool = False


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """The runs that were left alone.

    Attributes:
        seconds: How long one takes.
        n_steps: Steps that were seen; 0 where none was.
        checkpoints: What it has left behind, by name.
        n_leaves: Leaves of these.
        metrics: Names of its metrics.
        repeatable: Whether two of them end the same, bit by bit.
        difference: How two of them differ.
        causes: Why, as far as can be told.
        volatile: Leaves that are never the same twice, texts and times; they are not compared.
        opaque: What could not be looked into, and why; its bytes alone are compared.
        watched: What was seen of it: ``steps of PyTorch``, ``steps of holdfast`` or ``nothing``.
    """

    seconds: float
    n_steps: int
    checkpoints: tuple[str, ...]
    n_leaves: int
    metrics: tuple[str, ...]
    repeatable: bool
    difference: Difference
    causes: tuple[Cause, ...]
    volatile: tuple[str, ...]
    opaque: tuple[str, ...]
    watched: str


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What the drill has found.

    Attributes:
        command: What was drilled.
        undisturbed: The runs that were left alone.
        outcomes: What became of it under each fault.
        seed: With the same seed the same moments are chosen.
        seconds: How long all of it took.
    """

    command: tuple[str, ...]
    undisturbed: Undisturbed
    outcomes: tuple[Outcome, ...]
    seed: int
    seconds: float

    @property
    def made(self) -> tuple[Outcome, ...]:
        """What became of it under the faults that were made."""
        return tuple(outcome for outcome in self.outcomes if outcome.status != "skipped")

    @property
    def is_exact(self) -> bool:
        """Whether it resumed exactly under every fault that was made, and one was made."""
        statuses = {outcome.status for outcome in self.made}
        if any(outcome.is_unseen for outcome in self.made):
            return False
        return self.undisturbed.repeatable and "passed" in statuses and "failed" not in statuses

    @property
    def is_bad(self) -> bool:
        """Whether something failed, or nothing is proven: a warning alone is neither."""
        failed = any(outcome.status == "failed" for outcome in self.made)
        return failed or not self.made or not self.undisturbed.repeatable

    @property
    def causes(self) -> tuple[Cause, ...]:
        """Return what was found under any fault, each cause once."""
        found: dict[tuple[str, str], Cause] = {}
        for outcome in self.outcomes:
            for cause in outcome.causes:
                found.setdefault((cause.rule, cause.words.partition(":")[0]), cause)
        return tuple(found.values())
