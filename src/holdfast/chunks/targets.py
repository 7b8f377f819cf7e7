"""Where the bytes of a chunk go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """Where a stretch of a chunk goes: its begin in the chunk, and the memory."""

    begin: int
    into: memoryview

    def of(self, data: memoryview) -> memoryview:
        """Return the bytes of a chunk that go here."""
        return data[self.begin : self.begin + self.into.nbytes]


def apart(targets: Sequence[Target]) -> tuple[list[Target], list[Target]]:
    """Return targets whose bytes of the chunk are theirs alone, and those that share some."""
    own: list[Target] = []
    shared: list[Target] = []
    end = 0
    for target in sorted(targets, key=lambda t: t.begin):
        (own if target.begin >= end else shared).append(target)
        end = max(end, target.begin + target.into.nbytes)
    return own, shared
