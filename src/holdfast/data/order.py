"""The rule that orders a dataset: a pure function of seed and epoch, the same everywhere.

Rule 1. All randomness is the raw output of Philox4x64-10 (Salmon et al. 2011) with the 64-bit key
words (seed, epoch) and the counter (position, 0, 0, purpose), which is counted up before each
block of four words; so a position owns one block. NumPy guarantees the raw stream of a bit
generator for good, but not what ``Generator.permutation`` makes of it; therefore the order is
made from the raw words:

* Sample ``i`` of ``n`` draws word ``i`` of the stream that begins at position 0, purpose ``ORDER``.
  The *global order* of the epoch lists the samples by rising word, ties by rising ``i``.
  Without shuffling it is 0, 1, ..., n-1.
* Ranks all get equally many. With ``drop_last`` what exceeds a whole number of global batches
  (batch size x world size) is left out; without, the global order is repeated from its beginning
  until it is a multiple of the world size.
* Rank ``r`` of ``w`` gets the positions r, r+w, r+2w, ... and cuts them into batches. So global
  batch ``k`` is always the same stretch of the global order, at any world size that has the same
  global batch size.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, SupportsIndex, cast

import numpy as np
import numpy.typing as npt

from holdfast.errors import UsageError

RULE = 1
_WORD = 2**64


# Words that belong to one position.
BLOCK_WORDS = 4


class Purpose(IntEnum):
    """What random words are for; no two purposes ever share a word."""

    ORDER = 0
    SAMPLE = 1
    COLLATE = 2


class Delivery(NamedTuple):
    """What is fetched and delivered at once: a batch, or a single index.

    Attributes:
        epoch: The epoch it belongs to.
        positions: Positions of its samples in the global order.
        indices: The samples.
    """

    epoch: int
    positions: range
    indices: list[int]


def random_words(
    seed: int, epoch: int, purpose: Purpose, position: int, count: int
) -> npt.NDArray[np.uint64]:
    """Return words of rule 1, four for each position, from that position on."""
    key = np.array([seed, epoch], dtype=np.uint64)
    counter = np.array([position, 0, 0, purpose], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def epoch_order(n: int, seed: int, epoch: int, shuffle: bool = True) -> npt.NDArray[np.int64]:
    """Return the global order of an epoch, by rule 1.

    Args:
        n: Number of samples.
        seed: From 0 to 2**64 - 1.
        epoch: From 0 on.
        shuffle: False gives 0, 1, ..., n-1.

    >>> epoch_order(5, seed=0, epoch=0).tolist()
    [0, 2, 1, 4, 3]
    """
    if not shuffle:
        return np.arange(n, dtype=np.int64)
    # Stable, because two words may be equal.
    words = random_words(seed, epoch, Purpose.ORDER, 0, n)
    return np.argsort(words, kind="stable").astype(np.int64, copy=False)


@dataclass(frozen=True, slots=True)
class Order:
    """All that decides which samples a rank gets, and when.

    A *delivery* is what the consumer gets at once: a batch, or one index if there is no
    batch size. The order of one epoch is a sequence of ``deliveries`` of them.
    """

    length: int
    batch_size: int | None
    shuffle: bool
    seed: int
    drop_last: bool
    rank: int
    world_size: int

    def __post_init__(self) -> None:
        _check_int("the length of the dataset", self.length, 1)
        check_seed(self.seed)
        _check_int("world_size", self.world_size, 1)
        _check_int("rank", self.rank, 0, self.world_size)
        if self.batch_size is not None:
            _check_int("batch_size", self.batch_size, 1)
        if self.deliveries == 0:
            raise UsageError(
                f"There is nothing to deliver: with drop_last, {self.length} samples do not fill "
                f"one batch of {self.unit} on each of {self.world_size} ranks."
            )

    @property
    def unit(self) -> int:
        """Samples in a whole delivery."""
        return self.batch_size or 1

    @property
    def global_batch(self) -> int:
        """Samples in a whole delivery of all ranks together."""
        return self.unit * self.world_size

    @property
    def deliveries(self) -> int:
        """Deliveries to this rank in one epoch; the same number on every rank."""
        whole, rest = divmod(self.length, self.global_batch)
        return whole + (rest > 0 and not self.drop_last)

    @property
    def samples(self) -> int:
        """Samples for this rank in one epoch; the same number on every rank."""
        if self.drop_last:
            return self.deliveries * self.unit
        return -(-self.length // self.world_size)

    def rank_order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the samples of this rank in the order of an epoch."""
        whole = epoch_order(self.length, self.seed, epoch, self.shuffle)
        return np.resize(whole, self.samples * self.world_size)[self.rank :: self.world_size]

    def walk(self, epoch: int, start: int) -> Iterator[Delivery]:
        """Yield the deliveries of an epoch from number ``start`` on."""
        order = self.rank_order(epoch)
        for first in range(start * self.unit, self.samples, self.unit):
            last = min(first + self.unit, self.samples)
            positions = range(
                self.rank + first * self.world_size,
                self.rank + last * self.world_size,
                self.world_size,
            )
            yield Delivery(epoch, positions, order[first:last].tolist())


def check_seed(seed: int) -> int:
    """Return a seed if random words can be made of it.

    Raises:
        UsageError: It is no whole number, or not from 0 to 2**64 - 1.
    """
    _check_int("seed", seed, 0, _WORD)
    return seed


def _check_int(name: str, value: object, least: int, limit: int | None = None) -> None:
    try:
        number = operator.index(cast(SupportsIndex, value))
    except TypeError:
        raise UsageError(f"{name} must be a whole number, not {value!r}.", name=name) from None
    if number < least or (limit is not None and number >= limit):
        below = "" if limit is None else f" and below {limit}"
        raise UsageError(f"{name} must be at least {least}{below}, not {number}.", name=name)
