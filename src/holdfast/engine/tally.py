"""What the steps of a process took, counted in shared memory: a few stores per step, no call.

The trainer counts; the persister reads, also after the trainer's death. All numbers only grow while
the process lives, so that a reader needs no more than the last ones that were written down.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

# Lengths of steps are counted in classes: four to each doubling, from a microsecond to 72 minutes.
CLASSES_PER_OCTAVE = 4
SHORTEST_S = 1e-6
N_CLASSES = 128
_HEAD_WORDS = 8
TALLY_BYTES = 8 * (_HEAD_WORDS + N_CLASSES)

_N_QUIET, _QUIET_S, _N_BUSY, _BUSY_S, _HELD_S, _LAST_S, _LAST_NS, _READY_S = range(_HEAD_WORDS)


@dataclass(frozen=True, slots=True)
class Counted:
    """Numbers of a process at one moment.

    Attributes:
        n_quiet: Steps during which nothing was being saved.
        quiet_s: What they took together.
        n_busy: Steps during which a save was under way in the background.
        busy_s: What they took together.
        held_s: For how long calls of the ``Checkpointer`` have held the loop.
        last_s: When the last step ended, on the monotonic clock; 0 before the first.
        last_ns: The same on the wall clock, in nanoseconds since the epoch.
        ready_s: When the state was ready to train, on the monotonic clock; 0 before that.
        lengths: How many steps were of each class of lengths, those that have any.
    """

    n_quiet: int
    quiet_s: float
    n_busy: int
    busy_s: float
    held_s: float
    last_s: float
    last_ns: int
    ready_s: float
    lengths: dict[int, int]


class Tally:
    """Counts steps and the time that they take.

    Args:
        memory: Zeroed shared memory of ``TALLY_BYTES``.
    """

    def __init__(self, memory: memoryview) -> None:
        self._ints = memory.cast("q")
        self._floats = memory.cast("d")
        # When the step that is being done has begun; what has held it since is added.
        self._step_from_s = time.monotonic()

    # --- the trainer's side ---

    def begin(self, now_s: float) -> None:
        """Say that training begins, or goes on from another state."""
        self._floats[_READY_S] = self._step_from_s = now_s

    def count(self, now_s: float, *, is_busy: bool) -> None:
        """Count a step that has ended just now."""
        took_s = max(now_s - self._step_from_s, 0.0)
        count, total = (_N_BUSY, _BUSY_S) if is_busy else (_N_QUIET, _QUIET_S)
        self._ints[count] += 1
        self._floats[total] += took_s
        self._ints[_HEAD_WORDS + length_class(took_s)] += 1
        self._floats[_LAST_S], self._ints[_LAST_NS] = now_s, time.time_ns()
        self._step_from_s = now_s

    def hold(self, held_s: float) -> None:
        """Add time for which a call has held the loop; it is no part of a step."""
        self._floats[_HELD_S] += held_s
        self._step_from_s += held_s

    # --- either side ---

    def read(self) -> Counted:
        """Return the numbers so far."""
        ints, floats = self._ints, self._floats
        lengths = {i: n for i in range(N_CLASSES) if (n := ints[_HEAD_WORDS + i])}
        return Counted(
            n_quiet=ints[_N_QUIET],
            quiet_s=floats[_QUIET_S],
            n_busy=ints[_N_BUSY],
            busy_s=floats[_BUSY_S],
            held_s=floats[_HELD_S],
            last_s=floats[_LAST_S],
            last_ns=ints[_LAST_NS],
            ready_s=floats[_READY_S],
            lengths=lengths,
        )

    def close(self) -> None:
        """Give the memory back."""
        self._ints.release()
        self._floats.release()


def length_class(seconds: float) -> int:
    """Return the class of a step's length.

    >>> length_class(0.0), length_class(1e-6), length_class(2e-6), length_class(1e9)
    (0, 0, 4, 127)
    """
    if seconds <= SHORTEST_S:
        return 0
    return min(int(math.log2(seconds / SHORTEST_S) * CLASSES_PER_OCTAVE), N_CLASSES - 1)


def class_bounds_s(number: int) -> tuple[float, float]:
    """Return the shortest and the longest step of a class, in seconds.

    >>> class_bounds_s(4)[0]
    2e-06
    """
    lower, upper = (
        SHORTEST_S * 2.0 ** (place / CLASSES_PER_OCTAVE) for place in (number, number + 1)
    )
    return lower, upper
