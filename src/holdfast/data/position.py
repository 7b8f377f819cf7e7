"""What loaders show of where they stand, and how that is saved and gone back to."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.data.cursor import Cursor
from holdfast.data.order import Order


class Position:
    """The part of a loader that a checkpoint saves. Loaders derive from it and iterate."""

    # The Checkpointer may read the state at every step.
    cheap_state = True

    def __init__(self, order: Order) -> None:
        self._order = order
        self._cursor = Cursor(order)

    def __len__(self) -> int:
        """Return the number of indices or batches in a whole epoch."""
        return self._order.deliveries

    @property
    def epoch(self) -> int:
        """The epoch under way, from 0."""
        return self._cursor.epoch

    @property
    def position(self) -> int:
        """How many indices or batches of the epoch were delivered."""
        return self._cursor.position

    @property
    def epochs_done(self) -> float:
        """Epochs finished so far with the fraction of the one under way."""
        return self._cursor.epoch + self._cursor.position / len(self)

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of another epoch; nothing happens if it is the one under way."""
        self._cursor.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Return the position, the same on every rank and for any number of workers."""
        return self._cursor.state()

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go to a saved position.

        Args:
            state: From ``state_dict``. Another number of workers is fine, and another world size
                if the global batch (batch size x world size) is the same.

        Raises:
            Mismatch: The position would mean other samples here; nothing was changed.
        """
        self._cursor.load(state)

    def check_state_dict(self, state: Mapping[str, object]) -> None:
        """Raise Mismatch where ``load_state_dict`` would; nothing is changed."""
        self._cursor.check_fit(state)
