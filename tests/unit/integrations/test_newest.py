from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from damaged_packs import damage

import holdfast
from holdfast.errors import NoGoodCheckpoint, NotFound
from holdfast.integrations.newest import newest_good


def test_damage_in_a_piece_that_is_not_asked_for_first(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2):
        state = {"small": np.arange(3), "large": np.full(5_000_000, step, np.float64)}
        holdfast.save(store_path, state, run="r", step=step, rng=False)
    store = holdfast.Store(store_path)
    assert newest_good(store, "r").step == 2
    damage(store_path, "r", 2)
    # The small piece by itself is good.
    assert holdfast.load(store_path, "r@2", only="small")["small"].tolist() == [0, 1, 2]
    assert newest_good(store, "r").step == 1
    assert "r@2 was stepped over" in caplog.text
    damage(store_path, "r", 1)
    with pytest.raises(NoGoodCheckpoint, match="r@1"):
        newest_good(store, "r")


def test_commits_that_cannot_be_read_are_no_beginning(store_path: Path) -> None:
    holdfast.save(store_path, {"x": 1}, run="r", step=1)
    store = holdfast.Store(store_path)
    with pytest.raises(NotFound):
        newest_good(store, "other")
    commit = next(store_path.glob("runs/r/commits/*"))
    commit.chmod(0o600)
    commit.write_bytes(b"{}")
    with pytest.raises(NoGoodCheckpoint):
        newest_good(holdfast.Store(store_path), "r")


def test_what_a_checkpoint_is_made_of_counts(store_path: Path) -> None:
    for seed, run in enumerate(("whole", "part")):
        state = {"x": np.random.default_rng(seed).random(100_000)}
        holdfast.save(store_path, state, run=run, step=1, rng=False)
    store = holdfast.Store(store_path)
    refs = ["whole@1", "part@1"]
    assert newest_good(store, "whole", lambda info: refs).ref == "whole@1"
    damage(store_path, "part", 1)
    with pytest.raises(NoGoodCheckpoint):
        newest_good(store, "whole", lambda info: refs)
