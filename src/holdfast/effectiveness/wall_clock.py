"""Where the wall-clock of a run went: every second of it is in one of these and in one only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from holdfast.effectiveness.lives import Life
from holdfast.effectiveness.pieces import Loss, Piece
from holdfast.wording.numbers import plural

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class WallClock:
    """Seconds from the beginning of the first process to the last sign of life of the newest.

    Attributes:
        useful_s: Steps that still count, at the pace that they have while nothing is saved.
        twice_s: Steps that were lost, or given up, and had to be done again.
        held_s: The loop was held by calls of the ``Checkpointer``.
        slowed_s: Steps took longer because something was being saved meanwhile.
        restoring_s: Checkpoints were read back.
        around_s: Processes lived but did not train: set-up after the ``Checkpointer`` was made,
            waiting for the last save.
        down_s: No process of the run lived, or its last step was not finished.
    """

    useful_s: float
    twice_s: float
    held_s: float
    slowed_s: float
    restoring_s: float
    around_s: float
    down_s: float

    @property
    def total_s(self) -> float:
        """All of it."""
        return sum(self.shares_s.values())

    @property
    def shares_s(self) -> dict[str, float]:
        """The seconds by name, the useful ones first."""
        return {
            "useful": self.useful_s,
            "done twice": self.twice_s,
            "held by saves": self.held_s,
            "slowed by saves": self.slowed_s,
            "restoring": self.restoring_s,
            "around training": self.around_s,
            "down": self.down_s,
        }

    @property
    def ettr(self) -> float:
        """Effective training time ratio: the useful time's share of all (arXiv 2410.21680)."""
        return self.useful_s / self.total_s if self.total_s else 0.0


def wall_clock(
    lives: Sequence[Life], standing: Sequence[Piece], losses: Sequence[Loss]
) -> WallClock:
    """Return where the time of some lives went."""
    slowed_s = sum(piece.slowed_s for piece in standing)
    stepping_s = sum(piece.took_s for piece in standing)
    twice_s = sum(loss.took_s for loss in losses)
    held_s = sum(life.counted.held_s for life in lives)
    restoring_s = sum(restore.took_s for life in lives for restore in life.restores)
    alive_s = sum(life.alive_s for life in lives)
    return WallClock(
        useful_s=stepping_s - slowed_s,
        twice_s=twice_s,
        held_s=held_s,
        slowed_s=slowed_s,
        restoring_s=restoring_s,
        around_s=max(alive_s - stepping_s - twice_s - held_s - restoring_s, 0.0),
        down_s=sum(down_s(before, after) for before, after in pairwise(lives)),
    )


def down_s(before: Life, after: Life) -> float:
    """Return for how long nobody trained between two lives; 0 where clocks say less than that."""
    if before.boot is not None and before.boot == after.boot:
        return max(after.began_s - before.end_s, 0.0)
    return max((after.began_ns - before.end_ns) / _NS, 0.0)


def doubts(lives: Sequence[Life]) -> list[str]:
    """Return, in words, what makes the numbers less sure than they look."""
    found = []
    for number, life in enumerate(lives, 1):
        if not life.has_beginning:
            found.append(f"The beginning of process {number} is not in the journal.")
        if life.n_unread:
            found.append(
                f"Left out of process {number}: {plural(life.n_unread, 'event')} that cannot be as "
                "the journal says."
            )
        if life.clock_jump_s:
            found.append(
                f"The clock was set by {life.clock_jump_s:.0f} s while process {number} ran; its "
                "own times are by a clock that cannot be set."
            )
        if life.how == "vanished":
            found.append(
                f"Nobody saw the end of process {number}: what it did after step {life.reached} "
                "is not known, and counted as down."
            )
    for number, (before, after) in enumerate(pairwise(lives), 1):
        found += _doubts_between(number, before, after)
    return found


def _doubts_between(number: int, before: Life, after: Life) -> list[str]:
    same_boot = before.boot is not None and before.boot == after.boot
    apart_s = after.began_s - before.end_s if same_boot else (after.began_ns - before.end_ns) / _NS
    if apart_s >= -1.0:
        return []
    if same_boot:
        return [
            f"Processes {number} and {number + 1} ran at the same time for {-apart_s:.0f} s, or "
            "their events are mixed up."
        ]
    return [
        f"The clocks of processes {number} and {number + 1} contradict each other by "
        f"{-apart_s:.0f} s: the time between them is not known, and counted as none."
    ]
