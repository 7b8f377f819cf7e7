"""Where in the order the consumer stands; what a checkpoint saves of a data loader.

::

    begin() -> ticket           an iterator starts
      deliver(ticket)           once for each delivery, before the consumer gets it
    finish(ticket)              the epoch is over: (epoch + 1, 0)

Inside the loop body the delivery at hand counts as consumed. After the last one of an epoch the
cursor stands at (epoch, deliveries), and moves to (epoch + 1, 0) when the loop ends. A checkpoint
between the two resumes with an empty rest of that epoch, so that what the script does at the end
of an epoch (validation, a scheduler) is still done.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from typing import SupportsIndex

from holdfast.data.order import RULE, Order
from holdfast.errors import Mismatch, UsageError

_TOLD = {
    "rule": "rule of the order",
    "length": "dataset length",
    "seed": "seed",
    "shuffle": "shuffle",
    "drop_last": "drop_last",
}


class Cursor:
    """The position of one consumer in an order.

    Attributes:
        epoch: The epoch under way, from 0.
        position: Deliveries of that epoch which the consumer has had.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.epoch = 0
        self.position = 0
        self._ticket = 0
        self._was_loaded = False

    def begin(self) -> int:
        """Start an iterator at the delivered position; earlier ones are out of date from now on.

        Where an epoch was delivered to its end, but its iterator never asked for more, the next
        epoch begins - unless the position was just loaded: then its empty rest comes first.
        """
        if self.position >= self.order.deliveries and not self._was_loaded:
            self._move(self.epoch + 1, 0)
        self._was_loaded = False
        self._ticket += 1
        return self._ticket

    def check(self, ticket: int) -> None:
        """Raise UsageError if the iterator with that ticket is out of date."""
        if ticket != self._ticket:
            raise UsageError(
                "This iterator is out of date: after it was made, another one was begun or a "
                "position was loaded. No sample was skipped. Go on with a new 'for' or iter(), "
                "which starts after the last delivery."
            )

    def deliver(self, ticket: int) -> None:
        """Count one delivery."""
        self.check(ticket)
        self.position += 1

    def finish(self, ticket: int) -> None:
        """Move to the next epoch."""
        self.check(ticket)
        self._move(self.epoch + 1, 0)

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of another epoch; the one under way stays where it is."""
        if isinstance(epoch, bool) or not isinstance(epoch, SupportsIndex) or index(epoch) < 0:
            raise UsageError(
                f"An epoch is a whole number of 0 or more, not {epoch!r}.", epoch=epoch
            )
        epoch = index(epoch)
        if epoch != self.epoch:
            self._move(epoch, 0)
            self._ticket += 1

    def state(self) -> dict[str, int]:
        """Return the position with all that it means, the same on every rank."""
        order = self.order
        state = {
            "rule": RULE,
            "epoch": self.epoch,
            "position": self.position,
            "length": order.length,
            "batch_size": order.batch_size or 0,
            "seed": order.seed,
            "shuffle": order.shuffle,
            "drop_last": order.drop_last,
            "world_size": order.world_size,
        }
        # Plain ints, whatever kind of whole number was given.
        return {key: int(value) for key, value in state.items()}

    def load(self, saved: Mapping[str, object]) -> None:
        """Go to a saved position.

        Args:
            saved: What ``state`` returned, here or on another rank. Another world size is fine
                where the global batch (batch size x world size) is the same.

        Raises:
            Mismatch: The position would mean other samples here; nothing was changed.
        """
        numbers = self.check_fit(saved)
        self._move(numbers["epoch"], numbers["position"])
        self._was_loaded = True
        self._ticket += 1

    def check_fit(self, saved: Mapping[str, object]) -> Mapping[str, int]:
        """Return a saved position if it means the same samples here; nothing is changed.

        Raises:
            Mismatch: It does not.
        """
        if not isinstance(saved, Mapping):
            raise UsageError(f"A data position is a dict, not a {type(saved).__name__}.")
        numbers = {k: v for k, v in saved.items() if type(v) is int}
        if problems := self._problems(saved, numbers):
            raise Mismatch(
                f"The saved data position does not fit this loader: {'; '.join(problems)}. The "
                "loader was not changed. Build it as it was when the checkpoint was saved, or "
                "leave it out of the restore to begin the data anew.",
                problems=problems,
            )
        return numbers

    def _move(self, epoch: int, position: int) -> None:
        self.epoch, self.position = epoch, position

    def _problems(self, given: Mapping[str, object], saved: Mapping[str, int]) -> list[str]:
        wanted = self.state()
        if odd := [key for key in wanted if key not in saved]:
            return [f"{key}: saved {given.get(key)!r}, wanted a whole number" for key in odd]
        problems = [
            f"{name}: saved {saved[key]}, wanted {wanted[key]}"
            for key, name in _TOLD.items()
            if saved[key] != wanted[key]
        ]
        if _global_batch(saved) != _global_batch(wanted):
            problems.append(f"batch size: saved {_batch(saved)}, wanted {_batch(wanted)}")
        last = self.order.deliveries
        if not problems and not (saved["epoch"] >= 0 and 0 <= saved["position"] <= last):
            problems.append(
                f"position: saved epoch {saved['epoch']}, delivery {saved['position']}, "
                f"wanted deliveries 0 to {last}"
            )
        return problems


def _global_batch(state: Mapping[str, int]) -> tuple[bool, int]:
    """Return what must be the same for a position to mean the same samples."""
    size = state["batch_size"]
    return size > 0, (size or 1) * state["world_size"]


def _batch(state: Mapping[str, int]) -> str:
    size = str(state["batch_size"] or "none")
    return size if state["world_size"] == 1 else f"{size} on each of {state['world_size']} ranks"
