"""A dataset each of whose samples is made under random numbers of its own.

For trainers that bring their own data loader and begin an epoch again by leaving out what was
delivered: what was left out has drawn nothing, so the random numbers of augmentation would be
others than in a run that was never stopped.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch.utils.data import Dataset

from holdfast.data.order import BLOCK_WORDS, Purpose, check_seed, random_words
from holdfast.data.torch_fetch import (
    MapDataset,
    check_map_style,
    generators_put_back,
    seed_generators,
)


@final
class SeededDataset(Dataset[Any]):  # type: ignore[misc]
    """Another dataset, whose random draws depend only on seed, epoch and index.

    Draws from the global generators of Python, NumPy and torch (CPU) are the same whatever came
    before, in any number of workers, and disturb no draw of the model.

    Args:
        dataset: Anything with ``len`` and ``dataset[i]``.
        seed: Decides the draws; from 0 to 2**64 - 1.

    Raises:
        UsageError: The dataset is not map-style, or the seed is none.

    Attributes:
        dataset: The one given.
        seed: Likewise.
    """

    def __init__(self, dataset: MapDataset, *, seed: int = 0) -> None:
        check_map_style(dataset)
        self.dataset = dataset
        self.seed = check_seed(seed)
        # Workers that outlive an epoch see the next one.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch that draws are made for."""
        return int(self._epoch[0])

    def set_epoch(self, epoch: int) -> None:
        """Let the next draws be those of an epoch; call it before its first batch is fetched."""
        self._epoch[0] = epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:  # whatever the dataset gives
        words = random_words(
            self.seed, self.epoch, Purpose.SAMPLE, int(index) % len(self), BLOCK_WORDS
        )
        with generators_put_back():
            seed_generators(words.tolist())
            return self.dataset[index]
