"""What is written again so that old packs can go."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from holdfast import Checkpointer, Store, every, keep
from holdfast.plan.carrying import CarriedPack, chunks_to_move

MIB = 1 << 20


def on_disk(store: Path) -> int:
    return sum(p.stat().st_size for p in store.rglob("*") if p.is_file())


def pack(mib: int, *live_mib: int, name: str = "") -> CarriedPack:
    return CarriedPack(mib * MIB, {f"{name}{i}".encode(): n * MIB for i, n in enumerate(live_mib)})


def test_a_pack_that_is_mostly_wanted_is_kept() -> None:
    assert chunks_to_move([pack(10, 6)], 1000 * MIB) == set()


def test_no_more_is_written_again_than_a_twentieth() -> None:
    packs = [pack(100, 20, name=str(i)) for i in range(10)]
    assert len(chunks_to_move(packs, 1000 * MIB)) == 2
    assert chunks_to_move(packs, 0) == set()


def test_what_frees_most_comes_first() -> None:
    packs = [pack(100, 20, 20, name="much"), pack(100, 5, name="little")]
    assert chunks_to_move(packs, 500 * MIB) == {b"little0", b"much0"}


def test_an_unused_generator_does_not_hold_old_packs(tmp_path: Path) -> None:
    w = np.random.default_rng(0).random(500_000)
    with Checkpointer(tmp_path, {"w": w}, run="r", save=every(steps=1), keep=keep.last(1)) as ckpt:
        for step in range(4):
            w += 1
            handle = ckpt.step(step)
            assert handle is not None
            handle.wait()
        ckpt.wait()
    assert on_disk(tmp_path) < 1.1 * w.nbytes


def test_pruning_frees_what_a_checkpoint_had(tmp_path: Path) -> None:
    w = np.random.default_rng(0).random(500_000)
    with Checkpointer(tmp_path, {"w": w}, run="r") as ckpt:
        for step in range(2):
            w += 1
            ckpt.save(step).wait()
    assert Store(tmp_path).remove("r@0").freed_bytes > 0.99 * w.nbytes


def test_what_is_frozen_little_by_little_does_not_pile_up(tmp_path: Path) -> None:
    layers = {f"l{i}": np.random.default_rng(i).random(40_000) for i in range(24)}
    nbytes = sum(layer.nbytes for layer in layers.values())
    with Checkpointer(tmp_path, layers, run="r", save=every(steps=1), keep=keep.last(1)) as ckpt:
        for step in range(40):
            for layer in list(layers.values())[min(step, 22) :]:
                layer += 1
            handle = ckpt.step(step)
            assert handle is not None
            handle.wait()
    assert len(Store(tmp_path).log("r")) == 1
    assert on_disk(tmp_path) < 2.2 * nbytes
    assert Store(tmp_path).verify().ok


def test_a_frozen_part_is_not_written_again(tmp_path: Path) -> None:
    frozen, trained = np.random.default_rng(0).random(900_000), np.zeros(100_000)
    state = {"frozen": frozen, "trained": trained}
    with Checkpointer(tmp_path, state, run="r", save=every(steps=1), keep=keep.last(1)) as ckpt:
        for step in range(5):
            trained += 1
            handle = ckpt.step(step)
            assert handle is not None
            info = handle.wait()
            if step:
                assert info.stored_bytes < 1.1 * trained.nbytes
    assert os.listdir(tmp_path)
