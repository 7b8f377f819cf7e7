"""Iterators of Grain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from absent import required

grain = required("grain")


def grain_iterator(kind: str) -> Any:
    if kind == "dataset":
        data = grain.MapDataset.range(20).seed(1).shuffle()
        data = data.random_map(lambda x, rng: x + rng.integers(100)).batch(2)
        return iter(data.to_iter_dataset())
    return iter(
        grain.DataLoader(
            data_source=np.arange(20),
            sampler=grain.samplers.IndexSampler(
                20, shuffle=True, seed=3, num_epochs=2, shard_options=grain.sharding.NoSharding()
            ),
        )
    )


@pytest.mark.parametrize("kind", ["dataset", "loader"])
def test_grain_iterators_go_on(tmp_path: Path, kind: str) -> None:
    data = grain_iterator(kind)
    for _ in range(3):
        next(data)
    holdfast.save(tmp_path, {"data": data}, run="r", step=0)
    other = grain_iterator(kind)
    holdfast.load(tmp_path, "r@0", into={"data": other})
    rest = list(data)
    assert len(rest) > 3
    for ours, theirs in zip(rest, other, strict=True):
        assert np.array_equal(ours, theirs)
