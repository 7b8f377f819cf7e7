"""A resumable sampler that needs nothing but NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized

from holdfast.data.cursor import Cursor
from holdfast.data.order import Order


class Sampler:
    """Iterates over the remaining indices, or batches of indices, of the current epoch.

    ::

        sampler = Sampler(len(x), batch_size=32, seed=0)
        for epoch in range(sampler.epoch, 10):
            for batch in sampler:
                train(x[batch])

    A batch counts as delivered when the loop gets it, so a checkpoint in the loop body goes on
    with the next one. After ``load_state_dict`` the first iteration yields the rest of the epoch
    (nothing, if all of it had been delivered); the end of an epoch moves to the next. An iterator
    left half-way is taken up by the next ``iter()``; the old one then refuses to go on.

    Do not hand it to a PyTorch ``DataLoader`` with workers: those fetch ahead, and what is
    fetched would count as delivered. ``holdfast.data.DataLoader`` counts right.
    """

    # The Checkpointer may read the state at every step.
    cheap_state = True

    def __init__(
        self,
        dataset_or_length: Sized | int,
        *,
        batch_size: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Start before the first epoch.

        Args:
            dataset_or_length: What is sampled, or how many samples it has.
            batch_size: Indices in a batch; None yields single indices.
            shuffle: Whether each epoch has its own random order.
            seed: Decides the orders, see ``holdfast.data.order``.
            drop_last: Leave out what does not fill a batch on every rank; otherwise samples from
                the beginning of the order are given out twice, so that all ranks get equally many.
            rank: Which of the ranks this is.
            world_size: How many ranks share the dataset.
        """
        given = dataset_or_length
        length = len(given) if isinstance(given, Sized) else given
        self._order = Order(length, batch_size, shuffle, seed, drop_last, rank, world_size)
        self._cursor = Cursor(self._order)

    def __iter__(self) -> Iterator[int | list[int]]:
        cursor = self._cursor
        ticket = cursor.begin()
        for delivery in self._order.walk(cursor.epoch, cursor.position):
            cursor.deliver(ticket)
            yield delivery.indices[0] if self._order.batch_size is None else delivery.indices
        cursor.finish(ticket)

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
        """Return the position, the same on every rank."""
        return self._cursor.state()

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go to a saved position.

        Args:
            state: From ``state_dict``. Another world size is fine if the global batch
                (batch size x world size) is the same.

        Raises:
            Mismatch: The position would mean other samples here; nothing was changed.
        """
        self._cursor.load(state)

    def check_state_dict(self, state: Mapping[str, object]) -> None:
        """Raise Mismatch where ``load_state_dict`` would; nothing is changed."""
        self._cursor.check_fit(state)
