"""The end of a step, remembered: what a save needs that comes when the next step has begun.

An exception or a signal comes in the middle of a step. The state is still that of the last whole
step if nothing that counts has changed; the generators and the data position have moved on with
the batch that was fetched, and are put back to what they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.state import rng as rng_state
from holdfast.state.changes import cheap_ones, cheap_state, mark


def tree_of(state: Mapping[str, Any], boundary: Boundary | None, *, rng: bool) -> dict[str, Any]:
    """Return what is saved of a state: itself and, with rng, the generators.

    Args:
        state: The state.
        boundary: The end of a step whose generators are taken, or None for those of now.
        rng: Whether generators are saved.
    """
    tree = dict(state)
    if rng:
        known = boundary.generators if boundary is not None else None
        tree[rng_state.ROOT_KEY] = known if known is not None else rng_state.capture()
    return tree


@dataclass(frozen=True, slots=True)
class Boundary:
    """What a state was at the end of a step, but for its arrays.

    Attributes:
        step: The step that had ended.
        marks: What differs once the state has changed.
        generators: State of the random number generators, or None where they are not saved.
        positions: State of the objects whose state is cheap to take, such as data loaders and
            generators, by the objects' ``id``.
    """

    step: int
    marks: object
    generators: Mapping[str, object] | None
    positions: Mapping[int, object]

    @classmethod
    def take(cls, state: Mapping[str, Any], step: int, *, rng: bool) -> Boundary:
        """Remember the end of a step."""
        positions = {id(value): cheap_state(value) for value in cheap_ones(dict(state))}
        generators = rng_state.capture() if rng else None
        return cls(step, mark(dict(state)), generators, positions)

    def still_holds(self, state: Mapping[str, Any]) -> bool:
        """Say whether the state is still that of the end of the step."""
        return mark(dict(state)) == self.marks
