"""What a storage budget has room for, and how often that lets a run save."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.policy.moment import Costs


@dataclass(frozen=True, slots=True)
class Room:
    """How many checkpoints have room in a budget.

    Attributes:
        fitting: In all.
        coming: Besides those that are there.
    """

    fitting: int
    coming: int


def room_in(budget_bytes: int, used_bytes: int, save_bytes: int) -> Room:
    """Return the room in a budget, in checkpoints that add so many bytes each.

    >>> room_in(50, used_bytes=12, save_bytes=10)
    Room(fitting=5, coming=3)
    """
    each = max(save_bytes, 1)
    return Room(budget_bytes // each, max(budget_bytes - used_bytes, 0) // each)


def lasting_s(room: Room, costs: Costs, train_s: float) -> float:
    """Return the shortest interval at which so much training fills no more than the room.

    Where nothing has room any more, no interval would help: it is 0.

    >>> lasting_s(Room(6, 6), Costs(10.0), 3600.0)
    590.0
    """
    return max(train_s / room.coming - costs.paid_s, 0.0) if room.coming else 0.0
