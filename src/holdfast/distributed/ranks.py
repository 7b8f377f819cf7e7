"""The ranks of a run: one process each, that save and restore together."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from holdfast.distributed.ids import together_id
from holdfast.distributed.jax_group import JaxGroup, is_jax_distributed
from holdfast.distributed.torch_group import TorchGroup, is_torch_distributed


class Group(Protocol):
    """What the ranks say to one another, when they begin and when they restore; never to save."""

    rank: int
    world_size: int

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's value, which JSON can hold, on every rank."""
        ...

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in order, on every rank."""
        ...


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        group: How they talk.
        incarnation: 32 hex digits that all of them have agreed on at their start.
        patience_s: How long a save waits for a rank that has not written its part.
    """

    group: Group
    incarnation: str
    patience_s: float = 300.0
    _counts: Counter[int] = field(default_factory=Counter)

    @property
    def rank(self) -> int:
        """Which one this is, from 0."""
        return self.group.rank

    @property
    def world_size(self) -> int:
        """How many there are."""
        return self.group.world_size

    def next_id(self, step: int) -> str:
        """Return the id of a step's next checkpoint: the same on every rank, with no message."""
        self._counts[step] += 1
        return together_id(self.incarnation, step, self._counts[step])


def ranks_here() -> Ranks | None:
    """Return this process among those that train together, or None where it trains alone.

    They are those of torch.distributed or of jax.distributed. Every rank must call it.

    Raises:
        EnvironmentTrouble: Not every rank has come.
    """
    group: Group
    if is_torch_distributed():
        group = TorchGroup()
    elif is_jax_distributed():
        group = JaxGroup()
    else:
        return None
    return Ranks(group, group.broadcast(uuid.uuid4().hex))
