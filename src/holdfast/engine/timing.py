"""How long the stages of a save took, until it was durable."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """How a save went, in seconds; all but ``held_s`` are moments of the monotonic clock.

    Attributes:
        held_s: For how long the training loop was held.
        snapshot_s: When the snapshot was complete.
        began_s: When it began to be written.
        written_s: When the snapshot was needed no more.
    """

    held_s: float
    snapshot_s: float
    began_s: float
    written_s: float

    @classmethod
    def begun(cls) -> Timing:
        """Return that of a save whose beginning nobody knows any more."""
        now_s = time.monotonic()
        return cls(0.0, now_s, now_s, now_s)

    def told(self, durable_s: float) -> dict[str, float]:
        """Return the times of a save that became durable at a moment, for the journal."""
        return {
            "held_s": self.held_s,
            "queued_s": max(self.began_s - self.snapshot_s, 0.0),
            "persist_s": durable_s - self.began_s,
            "durable_s": durable_s - self.snapshot_s,
        }
