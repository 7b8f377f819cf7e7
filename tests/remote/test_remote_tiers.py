"""A bucket as a far tier: filled behind training, and gone on from where the disk is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

import holdfast
from holdfast import Checkpointer, every, keep, tier
from holdfast.store.remote import RemoteStore


def test_a_run_goes_on_from_a_bucket_when_its_disk_is_lost(
    tmp_path: Path, store: RemoteStore
) -> None:
    far = tier.far(store, save=every(steps=2), keep=keep.last(2), bandwidth="5MB/s")
    state = {"w": np.zeros(100_000)}
    with Checkpointer(tmp_path / "home", state, run="r", tiers=[far]) as ckpt:
        for step in range(8):
            state["w"] += 1
            handle = ckpt.step(step)
            if handle is not None:
                handle.wait()
    # Steps 2 and 4 may have given way to 6, which is waited for.
    assert [info.step for info in holdfast.Store(store).log("r")][-1] == 6
    assert holdfast.Store(store).verify().ok
    shutil.rmtree(tmp_path / "home")
    state = {"w": np.zeros(100_000)}
    with Checkpointer(tmp_path / "home", state, run="r", tiers=[far]) as ckpt:
        restored = ckpt.restore()
        assert restored is not None
        assert (restored.step, restored.tier) == (6, "far")
        assert (state["w"] == 7).all()
        ckpt.save(7).wait()
    assert [info.step for info in holdfast.Store(store).log("r")][-1] == 7
