"""A state that follows from the step alone: whatever is restored can be checked bit by bit."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

KIB, MIB = 1 << 10, 1 << 20
# Bytes of: what changes at every step, what changes at every third, what never changes.
SIZES = {
    "tiny": (96 * KIB, 32 * KIB, 64 * KIB),
    "small": (2 * MIB, 1 * MIB, 1 * MIB),
    "large": (80 * MIB, 40 * MIB, 8 * MIB),
}
_FACTOR = 2654435761


class TrainingState:
    """The arrays and values of a run, put in place to any step.

    Args:
        size: One of ``SIZES``.
        gentle: The numbers change in their lowest bits only.
    """

    def __init__(self, size: str, *, gentle: bool = False) -> None:
        self._factor = 1 if gentle else _FACTOR
        source = np.random.Generator(np.random.PCG64(7))
        self._bases = [
            source.integers(0, 2**32, nbytes // 4, dtype=np.uint32) for nbytes in SIZES[size]
        ]
        fast, slow, frozen = (base.copy() for base in self._bases)
        self.tree: dict[str, Any] = {
            "model": {"fast": fast, "slow": slow, "frozen": frozen},
            "small": [np.zeros(3 + i, np.float64) for i in range(12)],
            "scalars": {},
        }

    def put(self, step: int) -> None:
        """Make the state that of a step, in place."""
        for name, factor, target in self._parts(step):
            np.add(self._bases[name], np.uint32(factor), out=target)
        for i, array in enumerate(self.tree["small"]):
            array[:] = step + i
        self.tree["scalars"].update(step=step, text=f"step {step}", third=step / 3)
        random.seed(step)
        np.random.seed(step)

    def wrong(self, step: int) -> list[str]:
        """Return what is not as it was at that step, generators included."""
        found = [
            f"array {name}"
            for name, factor, target in self._parts(step)
            if not np.array_equal(target, self._bases[name] + np.uint32(factor))
        ]
        found += [
            f"small {i}"
            for i, array in enumerate(self.tree["small"])
            if not np.array_equal(array, np.full(3 + i, float(step + i)))
        ]
        if self.tree["scalars"] != {"step": step, "text": f"step {step}", "third": step / 3}:
            found.append(f"scalars {self.tree['scalars']}")
        if random.random() != random.Random(step).random():
            found.append("Python's generator")
        if np.random.random() != np.random.RandomState(step).random():
            found.append("NumPy's generator")
        return found

    def _parts(self, step: int) -> list[tuple[int, int, Any]]:
        model = self.tree["model"]
        return [
            (0, step * self._factor % 2**32, model["fast"]),
            (1, step // 3 * self._factor % 2**32, model["slow"]),
            (2, 0, model["frozen"]),
        ]
