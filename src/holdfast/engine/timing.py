"""How long the stages of a save took, until it was durable."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """How a save went, in seconds.

    Attributes:
        held_s: For how long the training loop was held.
        taken_s: For how long the snapshot was copied; with ``zero_stall`` the loop is not held for
            all of it.
        snapshot_s: When the snapshot was complete, on the monotonic clock.
        began_s: When it began to be written, likewise.
    """

    held_s: float
    taken_s: float
    snapshot_s: float
    began_s: float

    @classmethod
    def begun(cls, at_s: float | None = None) -> Timing:
        """Return that of a save of which nobody knows what came before a moment, or before now."""
        now_s = time.monotonic() if at_s is None else at_s
        return cls(0.0, 0.0, now_s, now_s)

    def told(self, durable_s: float, written_s: float | None = None) -> dict[str, float]:
        """Return the times of a save that became durable at a moment, for the journal.

        Args:
            durable_s: That moment.
            written_s: When this process had done its share, if it had to wait for others.
        """
        return {
            "held_s": self.held_s,
            "snapshot_s": self.taken_s,
            "queued_s": max(self.began_s - self.snapshot_s, 0.0),
            "persist_s": (durable_s if written_s is None else written_s) - self.began_s,
            "durable_s": durable_s - self.snapshot_s,
        }
