"""Batches for ``fit`` whose order and randomness depend on seed, epoch and number alone.

Keras starts its iterators anew with every epoch and cannot be told where to begin. A dataset that
is asked for a batch by its number can: that it is in the middle of an epoch only means that number
0 is another batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

# Keras lets fit take such adapters as they are. Of a PyDataset it would shuffle the numbers, unless
# it is told not to, by Python's generator at a moment that nobody can go back to.
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

from holdfast.data.order import Order, epoch_order
from holdfast.errors import Mismatch, UsageError

Batch = tuple[Any, ...]
Augment = Callable[[Batch, np.random.Generator], Batch]


class _Numbered(keras.utils.PyDataset):  # type: ignore[misc]
    """The batches of an epoch by their numbers, from where it was begun."""

    def __init__(self, get: Callable[[int], Batch], count: Callable[[], int]) -> None:
        super().__init__()
        self._get, self._count = get, count

    def __len__(self) -> int:
        return self._count()

    def __getitem__(self, number: int) -> Batch:
        return self._get(number)


class Batches(PyDatasetAdapter):  # type: ignore[misc]
    """Batches of arrays, or those of a ``PyDataset``, that resume in the middle of an epoch.

    ``fit`` takes it in the place of ``x``. A ``HoldfastCallback`` that knows it says which epoch it
    is; ``shuffle=`` and ``batch_size=`` of ``fit`` have no say.

    Args:
        x: Arrays with the samples along their first axis, alone or in dicts, lists and tuples; or a
            ``keras.utils.PyDataset``, whose batches are then put in another order each epoch.
        y: Targets, likewise; not with a ``PyDataset``.
        sample_weight: Weights of the samples, likewise.
        batch_size: Samples in a batch.
        shuffle: Another order in every epoch, by the rule of ``holdfast.data``.
        seed: Decides the order and what ``augment`` draws.
        augment: Takes a batch (a tuple) and a generator of its own; gives the batch to train on.
        drop_last: Leave out a last batch that is not full.
        class_weight: Weights of the classes, as ``fit`` takes them.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        augment: Augment | None = None,
        drop_last: bool = False,
        class_weight: dict[int, float] | None = None,
    ) -> None:
        self._source = x if isinstance(x, keras.utils.PyDataset) else None
        if self._source is not None and (y is not None or sample_weight is not None):
            raise UsageError("y= and sample_weight= come with the batches of a PyDataset.")
        parts = (x, y, sample_weight)
        self._parts = tuple(part for part in parts if part is not None)
        n = self._source.num_batches if self._source is not None else _length(self._parts)
        if n is None:
            raise UsageError("A PyDataset without an end has no epochs to resume in.")
        unit = None if self._source is not None else batch_size
        self._order = Order(n, unit, shuffle, seed, drop_last, 0, 1)
        self._augment = augment
        self.epoch = 0
        self.first = 0
        self._known: tuple[int, np.ndarray[Any, Any]] | None = None
        super().__init__(_Numbered(self.__getitem__, self.__len__), class_weight, shuffle=False)

    # --- what Keras asks of an adapter ---

    def get_torch_dataloader(self) -> Any:
        """Return the batches as a loader that draws nothing from the global generator."""
        import torch

        loader = super().get_torch_dataloader()
        # For the seeds of workers that there are not; how often, depends on where an epoch began.
        loader.generator = torch.Generator()
        return loader

    def on_epoch_begin(self) -> None:
        """Do nothing: the callback says which epoch it is."""

    def on_epoch_end(self) -> None:
        """Do nothing."""

    # --- the batches ---

    @property
    def batches_in_epoch(self) -> int:
        """Batches in a whole epoch."""
        return self._order.deliveries

    def begin(self, epoch: int, first: int = 0) -> None:
        """Let number 0 be a batch of an epoch, the first one if not said otherwise."""
        self.epoch, self.first = epoch, first

    def __len__(self) -> int:
        """Return how many batches the epoch still has."""
        return self._order.deliveries - self.first

    def __getitem__(self, number: int) -> Batch:
        """Return a batch of the epoch, counted from where it was begun."""
        epoch, at = self.epoch, self.first + number
        if self._source is not None:
            batch = self._source[int(self._in_order(epoch)[at])]
            batch = batch if isinstance(batch, tuple) else (batch,)
        else:
            unit = self._order.unit
            chosen = self._in_order(epoch)[at * unit : (at + 1) * unit]
            batch = tuple(
                keras.tree.map_structure(lambda array: array[chosen], part) for part in self._parts
            )
        if self._augment is None:
            return batch
        return self._augment(batch, np.random.default_rng([self._order.seed, epoch, at]))

    def _in_order(self, epoch: int) -> np.ndarray[Any, Any]:
        known = self._known
        if known is None or known[0] != epoch:
            order = self._order
            known = epoch, epoch_order(order.length, order.seed, epoch, order.shuffle)
            self._known = known
        return known[1]

    # --- what a checkpoint has of it: that it is the same data ---

    def state_dict(self) -> dict[str, int]:
        """Return what must be the same for a position to mean the same batch."""
        order = self._order
        return {
            "length": order.length,
            "batch_size": order.unit,
            "seed": order.seed,
            "shuffle": int(order.shuffle),
            "drop_last": int(order.drop_last),
        }

    def check_state_dict(self, state: dict[str, Any]) -> None:
        """Raise Mismatch where a saved position would mean another batch here."""
        here = self.state_dict()
        problems = [
            f"{key}: saved {state.get(key)!r}, wanted {value!r}"
            for key, value in here.items()
            if state.get(key) != value
        ]
        if problems:
            raise Mismatch(
                "the data is in another order: " + "; ".join(problems), problems=problems
            )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Check that the data is what it was; the callback sets the position."""
        self.check_state_dict(state)


def _length(parts: Batch) -> int:
    lengths = {len(array) for array in keras.tree.flatten(parts)}
    if len(lengths) != 1:
        raise UsageError(f"The arrays do not have equally many samples: {sorted(lengths)}.")
    return lengths.pop()
