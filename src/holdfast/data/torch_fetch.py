"""Fetching samples with random augmentation that depends on nothing but the sample's place.

Python's, NumPy's and torch's global generators are seeded before each sample from (seed, epoch,
position in the global order), and before the batch is put together from the position of its first
sample. Afterwards they are put back as they were, so that a model that draws from them in the
same process sees no difference. It is the same in the main process and in workers.

Only the CPU generators are touched: augmentation that draws on a device, from a generator of the
dataset's own, or from the clock is not made repeatable here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import IterableDataset

from holdfast.data.order import BLOCK_WORDS, Delivery, Purpose, random_words
from holdfast.errors import UsageError


class MapDataset(Protocol):
    """A dataset whose samples are numbered from 0; any class with these two methods."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any:  # whatever collate_fn takes
        ...


def check_map_style(dataset: object) -> None:
    """Refuse a dataset whose samples have no numbers.

    Raises:
        UsageError: It is a stream, or lacks ``len()`` or ``dataset[i]``.
    """
    if isinstance(dataset, IterableDataset):
        raise UsageError(
            "An IterableDataset cannot be resumed exactly: its samples have no numbers. "
            "Give a dataset with len() and dataset[i]."
        )
    for name in ("__len__", "__getitem__"):
        if not hasattr(dataset, name):
            raise UsageError(
                f"The dataset, a {type(dataset).__name__}, has no {name}: "
                "resuming needs a dataset with len() and dataset[i]."
            )


class SeededFetch:
    """A dataset of deliveries: fetches the samples of one and puts them together.

    Attributes that it does not have are looked up in the dataset, so that a ``worker_init_fn``
    finds them in ``get_worker_info().dataset``.
    """

    def __init__(
        self, dataset: MapDataset, collate_fn: Callable[[Any], Any], seed: int, is_batched: bool
    ) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.seed = seed
        self.is_batched = is_batched

    def __getattr__(self, name: str) -> Any:  # whatever the dataset has
        # While it is being unpickled in a worker, there is no dataset yet.
        if name == "dataset" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __getitem__(self, delivery: Delivery) -> Any:
        with generators_put_back():
            samples = self._samples(delivery)
            seed_generators(self._words(delivery, Purpose.COLLATE, delivery.positions[:1])[0])
            return self.collate_fn(samples if self.is_batched else samples[0])

    def _samples(self, delivery: Delivery) -> list[Any]:
        words = self._words(delivery, Purpose.SAMPLE, delivery.positions)
        fetch_many = getattr(self.dataset, "__getitems__", None)
        if self.is_batched and callable(fetch_many):
            # The dataset fetches a whole batch at once: one seed, that of its first sample.
            seed_generators(words[0])
            return list(fetch_many(delivery.indices))
        samples = []
        for index, own_words in zip(delivery.indices, words, strict=True):
            seed_generators(own_words)
            samples.append(self.dataset[index])
        return samples

    def _words(self, delivery: Delivery, purpose: Purpose, positions: range) -> list[list[int]]:
        # One stretch for the whole batch: making a generator costs more than its words.
        span = positions[-1] - positions[0] + 1
        words = random_words(self.seed, delivery.epoch, purpose, positions[0], span * BLOCK_WORDS)
        blocks: list[list[int]] = words.reshape(span, BLOCK_WORDS)[:: positions.step].tolist()
        return blocks


def seed_generators(words: list[int]) -> None:
    """Seed the global generators of Python, NumPy and torch (CPU)."""
    random.seed(words[0])
    # 32 bits are all that it takes as a number; an array of more takes five times as long.
    np.random.seed(words[1] & 0xFFFFFFFF)
    # Not torch.manual_seed: that would seed the model's devices, too.
    torch.default_generator.manual_seed(words[2])


@contextmanager
def generators_put_back() -> Iterator[None]:
    """Put the global generators of Python, NumPy and torch (CPU) back as they were."""
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    torch_state = torch.default_generator.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.default_generator.set_state(torch_state)
