"""Where training was interrupted, or went back by its own will, and what that took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from holdfast.effectiveness.lives import Life
from holdfast.effectiveness.pieces import Loss
from holdfast.effectiveness.wall_clock import down_s


@dataclass(frozen=True, slots=True)
class Interruption:
    """An end of training after which another process went on, or the same from an earlier step.

    Attributes:
        how: ``died``, ``vanished``, ``exception NAME``, ``signal NAME``, ``done``, ``rolled back``.
        at_ns: When, in nanoseconds since the epoch.
        reached: The step at which it stood; -1 before any.
        back_to: The step that training went on from; None if it never went on.
        lost_steps: Steps done after that one, which had to be done again.
        lost_s: What they had taken.
        down_s: For how long nobody trained.
        restored_s: For how long the next process restored.
    """

    how: str
    at_ns: int
    reached: int
    back_to: int | None
    lost_steps: int
    lost_s: float
    down_s: float
    restored_s: float


def interruptions(lives: Sequence[Life], losses: Sequence[Loss]) -> list[Interruption]:
    """Return the interruptions of a run, in order."""
    found = []
    for number, (before, after) in enumerate(pairwise(lives), 1):
        lost = [loss for loss in losses if loss.life == number and not loss.is_rollback]
        back_to = after.restores[0].step if after.restores else None
        found.append(_interruption(before, after, lost, lost[0].back_to if lost else back_to))
        found += _rollbacks(number, after, losses)
    return _rollbacks(0, lives[0], losses) + found


def _interruption(
    before: Life, after: Life, lost: Sequence[Loss], back_to: int | None
) -> Interruption:
    return Interruption(
        before.how,
        before.end_ns,
        _stood_at(before),
        back_to,
        sum(loss.n_steps for loss in lost),
        sum(loss.took_s for loss in lost),
        down_s(before, after),
        after.restores[0].took_s if after.restores else 0.0,
    )


def _stood_at(life: Life) -> int:
    """Return the step at which a process ended: where it came from, if it did none of its own."""
    if life.reached < 0 and life.restores:
        return life.restores[-1].step
    return life.reached


def _rollbacks(number: int, life: Life, losses: Sequence[Loss]) -> list[Interruption]:
    # The first restore of a process goes on from another's end; those after steps go back.
    going_back = iter([r for r in life.restores if r.before.n_quiet + r.before.n_busy])
    found = []
    for loss in losses:
        if loss.life != number or not loss.is_rollback:
            continue
        restore = next((r for r in going_back if r.step == loss.back_to), None)
        found.append(
            Interruption(
                "rolled back",
                life.end_ns if restore is None else restore.at_ns,
                loss.back_to + loss.n_steps,
                loss.back_to,
                loss.n_steps,
                loss.took_s,
                0.0,
                0.0 if restore is None else restore.took_s,
            )
        )
    return found
