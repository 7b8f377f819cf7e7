"""A PyTorch data loader that resumes in the middle of an epoch, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader as TorchLoader
from torch.utils.data import default_collate, default_convert

from holdfast.data.cursor import Cursor
from holdfast.data.order import Delivery, Order
from holdfast.data.position import Position
from holdfast.data.torch_fetch import MapDataset, SeededFetch, check_map_style
from holdfast.errors import UsageError

_REFUSED = {
    "sampler": "the order is made from seed; give 'shuffle', 'rank' and 'world_size' instead",
    "batch_sampler": "the order is made from seed; give 'batch_size' and 'drop_last' instead",
    "generator": "all randomness is made from 'seed'",
    "in_order": "batches out of order could not be resumed",
}


class DataLoader(Position):
    """Batches of any map-style dataset, resumable between any two of them.

    ::

        loader = DataLoader(dataset, batch_size=32, num_workers=4, seed=0)
        for epoch in range(loader.epoch, 10):
            for batch in loader:
                train(batch)

    * **Position.** It counts batches that the loop has got, not those that workers have fetched
      ahead. In the loop body the batch at hand counts as consumed. After ``load_state_dict`` the
      first ``for`` gets the rest of the epoch (nothing, if all of it had been delivered), later
      ones whole epochs. A new ``iter()`` while an old one is half-way goes on after the last
      delivered batch; the old one then refuses to go on.
    * **Augmentation.** Random draws in ``dataset[i]`` and ``collate_fn`` from the global
      generators of Python, NumPy and torch (CPU) depend only on seed, epoch and position: they
      are the same after a resume, at any number of workers, and disturb no draw of the model. See
      ``holdfast.data.torch_fetch`` for what is outside of that.
    * **Workers.** Results are the same at any ``num_workers`` if the dataset's arithmetic does
      not depend on the number of threads: PyTorch gives workers one thread each.
    """

    def __init__(
        self,
        dataset: MapDataset,
        *,
        batch_size: int | None = 1,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        rank: int = 0,
        world_size: int = 1,
        **torch_kwargs: Any,  # typed by torch.utils.data.DataLoader
    ) -> None:
        """Start before the first epoch.

        Args:
            dataset: Anything with ``len`` and ``dataset[i]``.
            batch_size: Samples in a batch on this rank; None delivers single samples.
            shuffle: Whether each epoch has its own random order.
            seed: Decides orders and augmentation, see ``holdfast.data.order``.
            drop_last: Leave out what does not fill a batch on every rank; otherwise samples from
                the beginning of the order are given out twice, so that all ranks get equally many.
            num_workers: Processes that fetch ahead; 0 fetches in this one.
            collate_fn: Makes a batch of a list of samples; PyTorch's own if None.
            rank: Which of the ranks this is.
            world_size: How many ranks share the dataset.
            **torch_kwargs: Passed on to PyTorch's ``DataLoader``: ``pin_memory``,
                ``persistent_workers``, ``prefetch_factor``, ``worker_init_fn``, ``timeout``, ...

        Raises:
            UsageError: The dataset is not map-style, or an argument would take the order away.
        """
        _check_resumable(dataset, torch_kwargs)
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.num_workers = num_workers
        super().__init__(
            Order(len(dataset), batch_size, shuffle, seed, drop_last, rank, world_size)
        )
        if collate_fn is None:
            collate_fn = default_convert if batch_size is None else default_collate
        self._loader = TorchLoader(
            SeededFetch(dataset, collate_fn, seed, is_batched=batch_size is not None),
            # To PyTorch a whole batch is one sample: what fetches it must know where it belongs.
            batch_size=None,
            sampler=_Remaining(self._order, self._cursor),
            collate_fn=_as_it_is,
            num_workers=num_workers,
            # Its own, so that making an iterator draws nothing from the global one.
            # PyTorch takes no whole number of NumPy's for a seed.
            generator=torch.Generator().manual_seed(int(seed)),
            **torch_kwargs,
        )

    def __iter__(self) -> Iterator[Any]:  # whatever collate_fn makes
        cursor = self._cursor
        ticket = cursor.begin()
        for batch in self._loader:
            cursor.deliver(ticket)
            yield batch
            # Before another batch is asked for: persistent workers share one iterator.
            cursor.check(ticket)
        cursor.finish(ticket)


class _Remaining:
    """What PyTorch's loader asks for the deliveries of the epoch under way."""

    def __init__(self, order: Order, cursor: Cursor) -> None:
        self._order = order
        self._cursor = cursor

    def __iter__(self) -> Iterator[Delivery]:
        return self._order.walk(self._cursor.epoch, self._cursor.position)

    def __len__(self) -> int:
        return self._order.deliveries


def _as_it_is(batch: Any) -> Any:
    return batch


def _check_resumable(dataset: MapDataset, torch_kwargs: Mapping[str, object]) -> None:
    check_map_style(dataset)
    for name, reason in _REFUSED.items():
        if name in torch_kwargs:
            raise UsageError(f"DataLoader does not take {name!r}: {reason}.", name=name)
