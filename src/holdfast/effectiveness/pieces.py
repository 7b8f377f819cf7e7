"""Which of the steps that were done still count, and which were done for nothing.

A *piece* is a stretch of steps that one process did one after the other. Who goes on from step r
takes back every step above r that was done before: it is done a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.effectiveness.events import NOTHING_COUNTED
from holdfast.effectiveness.lives import Life
from holdfast.engine.measuring import slowed_s
from holdfast.engine.tally import Counted


@dataclass(frozen=True, slots=True)
class Piece:
    """Steps ``after + 1`` to ``reached`` of one life, and the time that they took.

    ``slowed_s`` of ``took_s`` is what saves in the background have cost.
    """

    life: int
    after: int
    reached: int
    took_s: float
    slowed_s: float

    @property
    def n_steps(self) -> int:
        """How many steps."""
        return self.reached - self.after

    def cut_above(self, step: int) -> tuple[Piece | None, Piece | None]:
        """Return what lies at or below a step, and what lies above; time is shared out evenly."""
        if step >= self.reached:
            return self, None
        if step <= self.after:
            return None, self
        share = (step - self.after) / self.n_steps
        below = replace(
            self, reached=step, took_s=self.took_s * share, slowed_s=self.slowed_s * share
        )
        above = replace(
            self,
            after=step,
            took_s=self.took_s - below.took_s,
            slowed_s=self.slowed_s - below.slowed_s,
        )
        return below, above


@dataclass(frozen=True, slots=True)
class Loss:
    """Steps that were taken back when training went on from an earlier one.

    Attributes:
        life: The number of the life that went back.
        is_rollback: Whether it had trained before, so that it went back by its own will.
        back_to: The step that it went on from; -1 for the very beginning.
        n_steps: How many steps had been done above it.
        took_s: How long these had taken.
    """

    life: int
    is_rollback: bool
    back_to: int
    n_steps: int
    took_s: float


@dataclass(frozen=True, slots=True)
class _Move:
    """A restore, if there was one, and the steps that followed, if there were any."""

    back_to: int | None
    piece: Piece | None


def settle(lives: Sequence[Life]) -> tuple[list[Piece], list[Loss]]:
    """Return the pieces that still count, by rising step, and what was taken back, in order."""
    standing: list[Piece] = []
    losses: list[Loss] = []
    for number, life in enumerate(lives):
        has_trained = False
        for move in _moves(number, life):
            back_to = move.piece.after if move.piece is not None else move.back_to
            if back_to is None:
                continue
            standing, gone = _cut(standing, back_to)
            if gone:
                losses.append(_loss(number, has_trained, back_to, gone))
            if move.piece is not None:
                standing.append(move.piece)
                has_trained = True
    return standing, losses


def _moves(number: int, life: Life) -> list[_Move]:
    moves = []
    base, back_to = NOTHING_COUNTED, None
    for restore in life.restores:
        piece = _piece(number, life, base, back_to, restore.before, restore.reached)
        moves.append(_Move(back_to, piece))
        base, back_to = restore.before, restore.step
    last = _piece(number, life, base, back_to, life.counted, life.reached)
    return [*moves, _Move(back_to, last)]


def _piece(
    number: int, life: Life, base: Counted, back_to: int | None, now: Counted, reached: int
) -> Piece | None:
    n_steps = now.n_quiet + now.n_busy - base.n_quiet - base.n_busy
    # Where nobody said where it begins, the steps that were counted end at the one reached.
    after = max(reached - round(n_steps * life.pace), -1) if back_to is None else back_to
    if n_steps <= 0 or reached <= after:
        return None
    took_s = now.quiet_s + now.busy_s - base.quiet_s - base.busy_s
    whole_s = life.counted.quiet_s + life.counted.busy_s
    share = took_s / whole_s if whole_s else 0.0
    return Piece(number, after, reached, took_s, slowed_s(life.counted) * share)


def _cut(standing: Sequence[Piece], step: int) -> tuple[list[Piece], list[Piece]]:
    kept, gone = [], []
    for piece in standing:
        below, above = piece.cut_above(step)
        kept += [below] if below is not None else []
        gone += [above] if above is not None else []
    return kept, gone


def _loss(life: int, is_rollback: bool, back_to: int, gone: Sequence[Piece]) -> Loss:
    n_steps = sum(piece.n_steps for piece in gone)
    return Loss(life, is_rollback, back_to, n_steps, sum(piece.took_s for piece in gone))
