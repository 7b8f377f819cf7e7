from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from absent import required

torch = required("torch")

from holdfast.data import SeededDataset  # noqa: E402
from holdfast.errors import UsageError  # noqa: E402


class Draws:
    """Each sample draws from all global generators."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([index, random.random(), np.random.rand(), torch.rand(()).item()])


def epoch(data: Any, workers: int = 0, **kwargs: Any) -> list[list[float]]:
    loader = torch.utils.data.DataLoader(data, batch_size=4, num_workers=workers, **kwargs)
    return [row for batch in loader for row in batch.tolist()]


def test_draws_depend_on_seed_epoch_and_index_alone() -> None:
    data = SeededDataset(Draws(), seed=3)
    first = epoch(data)
    torch.manual_seed(99)
    assert [data[i].tolist() for i in reversed(range(12))] == first[::-1]
    assert data[-1].tolist()[1:] == first[-1][1:]
    data.set_epoch(1)
    second = epoch(data)
    draws = [x for row in (*first, *second) for x in row[1:]]
    assert len(set(draws)) == len(draws)
    data.set_epoch(0)
    assert epoch(data) == first
    assert epoch(SeededDataset(Draws(), seed=4)) != first


def test_workers_that_outlive_an_epoch_see_the_next() -> None:
    data = SeededDataset(Draws())
    wanted = []
    for number in range(2):
        data.set_epoch(number)
        wanted.append(epoch(data))
    loader = torch.utils.data.DataLoader(data, batch_size=4, num_workers=2, persistent_workers=True)
    for number in range(2):
        data.set_epoch(number)
        assert [row for batch in loader for row in batch.tolist()] == wanted[number]


def test_the_models_draws_are_not_disturbed() -> None:
    data = SeededDataset(Draws())
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    expected = random.random(), np.random.rand(), torch.rand(3).tolist()
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    _ = data[5]
    assert (random.random(), np.random.rand(), torch.rand(3).tolist()) == expected


def test_what_has_no_numbers_and_what_is_no_seed_is_refused_at_once() -> None:
    class Stream(torch.utils.data.IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Any:
            return iter([1])

    for dataset in (Stream(), iter([1])):
        with pytest.raises(UsageError, match=r"dataset\[i\]"):
            SeededDataset(dataset)
    with pytest.raises(UsageError, match="seed must be at least 0"):
        SeededDataset(Draws(), seed=-1)
