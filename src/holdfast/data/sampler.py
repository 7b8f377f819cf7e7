"""A resumable sampler that needs nothing but NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sized

from holdfast.data.fetching_ahead import require_no_workers
from holdfast.data.order import Order
from holdfast.data.position import Position


class Sampler(Position):
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

    A PyTorch ``DataLoader`` with workers is refused: those fetch ahead, and what is fetched would
    count as delivered. ``holdfast.data.DataLoader`` counts right.
    """

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
        super().__init__(Order(length, batch_size, shuffle, seed, drop_last, rank, world_size))

    def __iter__(self) -> Iterator[int | list[int]]:
        require_no_workers()
        cursor = self._cursor
        ticket = cursor.begin()
        for delivery in self._order.walk(cursor.epoch, cursor.position):
            cursor.deliver(ticket)
            yield delivery.indices[0] if self._order.batch_size is None else delivery.indices
        cursor.finish(ticket)
