"""Ranks with a far tier: rank 0 copies what all have saved, and all go on from there."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from launching import IS_FULL, launch

import holdfast


def steps(path: Path) -> list[int]:
    return [info.step for info in holdfast.Store(path).log("r")]


def test_what_ranks_have_saved_comes_far_and_they_go_on_from_there(tmp_path: Path) -> None:
    home, far = tmp_path / "home", tmp_path / "far"
    job = launch("far_trainer.py", 2, tmp_path / "logs", home, far, 6)
    assert job.wait() == [0, 0], job.said(0) + job.said(1)
    # What the tier asks for is saved at home, too, by all ranks.
    assert steps(home) == [3, 4]
    assert steps(far) == [4]
    assert holdfast.Store(far).verify().ok
    here, there = (holdfast.load(path, "r@4")["model"] for path in (home, far))
    assert list(here) == list(there)
    assert all(np.array_equal(here[name], there[name]) for name in here)
    if not IS_FULL:
        return
    shutil.rmtree(home)
    job = launch("far_trainer.py", 3, tmp_path / "logs", home, far, 10)
    assert job.wait() == [0, 0, 0], job.said(0)
    assert all("restored (4, 'far')" in job.said(rank) for rank in range(3))
    assert steps(far) == [4, 8]
