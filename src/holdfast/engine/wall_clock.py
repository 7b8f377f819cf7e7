"""Whether the clock on the wall was set while this process ran."""

from __future__ import annotations

import time

# The two clocks are read one after the other.
_READING_S = 1.0


class WallClock:
    """Compares the clock on the wall with one that nobody can set, from when it is made."""

    def __init__(self) -> None:
        self._offset_s = _offset_s()

    def ahead_s(self) -> float:
        """Return by how many seconds it was set forward; 0 where it was not, or back."""
        ahead_s = _offset_s() - self._offset_s
        return ahead_s if ahead_s > _READING_S else 0.0


def _offset_s() -> float:
    # On Linux only this one goes on while the machine sleeps; elsewhere the other one does.
    steady = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.time() - time.clock_gettime(steady)
