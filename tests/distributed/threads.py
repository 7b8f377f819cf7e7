"""Ranks as threads of one process: what they say to one another goes through its memory.

Each has a persister process and all the rest of its own, so that nothing of a save is simulated;
and there is no framework to wait for.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.distributed.ranks import Ranks

TIMEOUT_S = 120


@dataclass
class Hall:
    """Where the ranks meet."""

    world_size: int
    notices: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.said: list[Any] = [None] * self.world_size
        self.barrier = threading.Barrier(self.world_size, timeout=TIMEOUT_S)


@dataclass
class Group:
    """One rank in a hall."""

    hall: Hall
    rank: int

    @property
    def world_size(self) -> int:
        return self.hall.world_size

    def gather(self, value: Any) -> list[Any]:
        self.hall.said[self.rank] = json.dumps(value)
        self.hall.barrier.wait()
        found = [json.loads(text) for text in self.hall.said]
        self.hall.barrier.wait()
        return found

    def broadcast(self, value: Any) -> Any:
        return self.gather(value)[0]

    def post(self, key: str, value: str) -> None:
        self.hall.notices[key] = value

    def peek(self, key: str) -> str | None:
        return self.hall.notices.get(key)


def ranks_of(world_size: int, patience_s: float = 60.0) -> list[Ranks]:
    """Return ranks that have met."""
    hall, incarnation = Hall(world_size), uuid.uuid4().hex
    return [Ranks(Group(hall, rank), incarnation, patience_s) for rank in range(world_size)]


def together(ranks: list[Ranks], do: Callable[[Ranks], Any]) -> list[Any]:
    """Do something on every rank at the same time, rank 0 on this thread; return what came."""
    found: list[Any] = [None] * len(ranks)

    def on(rank: int) -> None:
        try:
            found[rank] = do(ranks[rank])
        except BaseException as error:
            found[rank] = error

    threads = [threading.Thread(target=on, args=(r,)) for r in range(1, len(ranks))]
    for thread in threads:
        thread.start()
    on(0)
    for thread in threads:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
    return found
