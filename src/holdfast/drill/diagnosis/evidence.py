"""What a diagnosis is made from: two runs, how they differ, and where the second went on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from holdfast.drill.compare import Difference
from holdfast.drill.diagnosis.cause import Cause
from holdfast.drill.leaves import Leaf, Saved
from holdfast.drill.record import Record
from holdfast.drill.trace import StepRow

T = TypeVar("T")

LIBRARIES = {"python": "Python", "numpy": "NumPy", "torch": "PyTorch", "cuda": "CUDA"}
# Sizes of generators' states: MT19937 has 624 words, Python adds one that says how many are used,
# PyTorch's on the CPU has 5056 bytes.
_SHAPES = {"python": {(625,)}, "numpy": {(624,)}, "torch": {(5056,)}, "cuda": {(16,)}}
_POSITION = re.compile(
    r"loader|sampler|dataset|data/|cursor|position|batch_idx|batches|epoch", re.I
)
_SCHEDULE = re.compile(r"sched|warm_?up|anneal|(?<![a-z])lr(?![a-z])|learning_rate", re.I)
_MOMENTS = re.compile(r"exp_avg|moment|optim|velocity|adam|slot|(?<![a-z])[mv](?![a-z])", re.I)
_GENERATOR = re.compile(r"rng|random|generator|seed", re.I)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: looks at the evidence and yields the causes that it sees."""

    name: str
    find: Callable[[Evidence], Iterable[Cause]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two runs, and where the second went on.

    Attributes:
        reference: The run that was never disturbed.
        disturbed: The one that was.
        difference: How their ends differ.
        at: The index, in the reference's steps, of the first step of the last life: as many steps
            are left from there as that life did.
        by_weights: The index at which the reference had the weights that the last life began
            with; None if it never had them.
    """

    reference: Record
    disturbed: Record
    difference: Difference
    at: int | None = None
    by_weights: int | None = None

    @property
    def expected(self) -> tuple[StepRow, ...]:
        """The reference's steps from where the last life went on."""
        start = self.by_weights if self.by_weights is not None else self.at
        return self.reference.last.trace.main[start:] if start is not None else ()

    @property
    def found(self) -> tuple[StepRow, ...]:
        """The steps of the last life."""
        return self.disturbed.last.trace.main

    @property
    def all_expected(self) -> tuple[StepRow, ...]:
        """All steps of the reference."""
        return self.reference.last.trace.main

    @property
    def start(self) -> int:
        """The index of the step that the last life began with."""
        return self.by_weights if self.by_weights is not None else self.at or 0

    def first(self, of: Callable[[StepRow], object]) -> int | None:
        """Return how many steps after the resume a part of them differs first, None for never."""
        for number, (one, other) in enumerate(zip(self.expected, self.found, strict=False)):
            if of(one) != of(other):
                return number
        return None

    def step_name(self, after: int) -> int:
        """Return the number of the step that is so many after the resume."""
        rows = self.found
        named = rows[after].step if after < len(rows) else None
        return named if named is not None else self.start + after

    def earlier(self, value: T, of: Callable[[StepRow], T]) -> int | None:
        """Return the last step before the resume at which the reference had a value."""
        for index in range(min(self.start, len(self.all_expected)) - 1, -1, -1):
            if of(self.all_expected[index]) == value:
                return index
        return None

    def checkpoints(self) -> Iterator[Saved]:
        """Yield the checkpoints that the last life could go on from, and its end."""
        yield from self.disturbed.saved.values()

    def has_generator(self, library: str) -> bool:
        """Say whether any checkpoint has the state of a library's generator."""
        return any(
            is_generator(path, leaf, (library,))
            for saved in self.checkpoints()
            for path, leaf in saved.leaves.items()
        )

    def has_moments(self) -> bool:
        """Say whether any checkpoint has something that may be an optimizer's state."""
        return any(_MOMENTS.search(path) for saved in self.checkpoints() for path in saved.leaves)

    def has_schedule(self) -> bool:
        """Say whether any checkpoint has something that may be a schedule of the learning rate."""
        return any(_SCHEDULE.search(path) for saved in self.checkpoints() for path in saved.leaves)

    def has_position(self) -> bool:
        """Say whether any checkpoint has something that may be a position in the data."""
        return any(_POSITION.search(path) for saved in self.checkpoints() for path in saved.leaves)


def is_generator(path: str, leaf: Leaf, libraries: Iterable[str] = LIBRARIES) -> bool:
    """Say whether a leaf is the state of a generator of some libraries, or a part of it."""
    for library in libraries:
        if path.startswith(f"@rng/{library}"):
            return True
        if leaf.shape in _SHAPES[library] and (
            _GENERATOR.search(path) or leaf.kind == "numbers" or library == "torch"
        ):
            return True
    return False


def in_use(rows: Iterable[StepRow], library: str) -> bool:
    """Say whether a library's generator was drawn from while training went on."""
    return len({row.rng[library] for row in rows if library in row.rng}) > 1


def evidence_of(reference: Record, disturbed: Record, difference: Difference) -> Evidence:
    """Find out where the last life went on."""
    expected, found = reference.last.trace, disturbed.last.trace
    rows, ours = expected.main, found.main
    if not rows or not ours or expected.kind != found.kind:
        return Evidence(reference, disturbed, difference)
    if found.kind == "c":
        steps = {row.step: index for index, row in enumerate(rows)}
        return Evidence(reference, disturbed, difference, steps.get(ours[0].step))
    at = len(rows) - len(ours)
    same = [index for index, row in enumerate(rows) if row.params == ours[0].params]
    # Weights that never change tell nothing; of several places the nearest.
    by_weights = min(same, key=lambda index: abs(index - at), default=None)
    return Evidence(reference, disturbed, difference, max(at, 0), by_weights)
