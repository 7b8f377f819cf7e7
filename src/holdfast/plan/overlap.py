"""Whether a save is written while its snapshot is still being taken (docs/adr/0012)."""

from __future__ import annotations

# Of the time to durable, what the disk may be idle while the loop is held.
_IDLE_SHARE = 0.1


def is_worth_overlapping(held_s: float, durable_s: float) -> bool:
    """Say whether it should be, judged by an earlier save.

    What the system does for the writes takes from the processor, and holds the loop for longer.
    Where the disk is so slow that a snapshot is short beside it, that would buy next to nothing.

    Args:
        held_s: For how long that one held the loop, in seconds.
        durable_s: How long it took from then until it was durable, in seconds.

    >>> is_worth_overlapping(0.1, 0.5), is_worth_overlapping(0.1, 2.0)
    (True, False)
    """
    return held_s > _IDLE_SHARE * (held_s + durable_s)
