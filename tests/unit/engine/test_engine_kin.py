"""Runs that begin from the same weights: stored once, and each run's own all the same."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import keep
from holdfast.history.sweep import find_garbage
from holdfast.records import commits, pins
from holdfast.records.opening import open_store
from holdfast.store.local import LocalStore
from holdfast.testing import killing

WEIGHTS = np.random.default_rng(0).random(500_000)


def state(seed: int) -> dict[str, Any]:
    return {"base": WEIGHTS, "adapter": np.random.default_rng(seed).random(5000), "seed": seed}


def save(store: Path, run: str, seed: int, step: int = 0, **more: Any) -> holdfast.CheckpointInfo:
    return holdfast.save(store, state(seed), run=run, step=step, rng=False, **more)


def require_good(store: Path, ref: str, seed: int) -> None:
    found = holdfast.load(store, ref)
    assert (found["base"] == WEIGHTS).all() and found["seed"] == seed
    assert (found["adapter"] == state(seed)["adapter"]).all()


def disk_bytes(store: Path) -> int:
    """Bytes of all packs; a file with several names counts once."""
    found = {path.stat().st_ino: path.stat().st_size for path in store.glob("runs/*/packs/*")}
    return sum(found.values())


def packs(store: Path, run: str) -> list[Path]:
    return sorted((store / "runs" / run / "packs").iterdir())


def test_ten_runs_from_the_same_weights_take_them_once(store_path: Path) -> None:
    infos = [save(store_path, f"r{seed}", seed) for seed in range(10)]
    assert disk_bytes(store_path) < 1.02 * (WEIGHTS.nbytes + 10 * 5000 * 8 + 10 * 4096)
    assert all(info.stored_bytes < 100_000 and info.parent is None for info in infos[1:])
    assert holdfast.Store(store_path).verify().ok
    for seed in range(10):
        require_good(store_path, f"r{seed}@0", seed)


def test_what_a_store_takes_is_told_as_the_disk_has_it(store_path: Path) -> None:
    for seed in range(4):
        save(store_path, f"r{seed}", seed)
    shutil.copytree(store_path / "runs/r3", store_path / "runs/copied-by-hand")
    store = holdfast.Store(store_path)
    manifests = sum(path.stat().st_size for path in store_path.glob("runs/*/parts/*"))
    assert store.stored_bytes() == disk_bytes(store_path) + manifests
    assert store.doctor().facts["stored_bytes"] == store.stored_bytes()
    assert store.stored_bytes("r1") > WEIGHTS.nbytes, "of a run, what it needs"
    store.prune("r1", keep.last(1))
    store.remove("r2@0")
    manifests = sum(path.stat().st_size for path in store_path.glob("runs/*/parts/*"))
    assert store.stored_bytes() == disk_bytes(store_path) + manifests


def test_only_the_last_name_of_a_pack_frees_its_bytes(store_path: Path) -> None:
    for seed in range(2):
        save(store_path, f"r{seed}", seed)
    for seed in range(2):
        # Nothing of the first one is needed any more.
        holdfast.save(store_path, {"w": 1}, run=f"r{seed}", step=1, rng=False)
    store, freed = holdfast.Store(store_path), []
    for run in ("r0", "r1"):
        told = store.prune(run, keep.last(1), dry_run=True).freed_bytes
        before = disk_bytes(store_path)
        freed.append(store.prune(run, keep.last(1)).freed_bytes)
        assert told == freed[-1] and 0 <= freed[-1] - (before - disk_bytes(store_path)) < 100_000
    assert freed[0] < 200_000 < WEIGHTS.nbytes < freed[1]


def test_each_run_keeps_what_it_needs_when_others_go(store_path: Path) -> None:
    for seed in range(3):
        save(store_path, f"r{seed}", seed)
    save(store_path, "r1", 7, step=1)
    store = holdfast.Store(store_path)
    store.remove("r0@0")
    assert packs(store_path, "r0") == []
    store.prune("r1", holdfast.keep.last(1))
    require_good(store_path, "r1@1", 7)
    store.remove("r1@1")
    require_good(store_path, "r2@0", 2)
    store.remove("r2@0")
    assert disk_bytes(store_path) == 0


def test_a_fork_takes_what_it_began_with(store_path: Path) -> None:
    save(store_path, "old", 1)
    tree = state(0)
    with holdfast.Checkpointer(store_path, tree, run="new", rng=False) as ckpt:
        assert ckpt.restore("old@0") is not None
        for step in range(3):
            tree["adapter"] += 1
            ckpt.save(step).wait()
    assert disk_bytes(store_path) < 1.1 * WEIGHTS.nbytes
    assert (holdfast.load(store_path, "new@2")["adapter"] == state(1)["adapter"] + 3).all()
    assert holdfast.Store(store_path).verify().ok


@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_what_is_not_good_in_another_run_is_written(store_path: Path, how: str) -> None:
    save(store_path, "old", 1)
    [pack] = packs(store_path, "old")
    if how == "gone":
        pack.unlink()
    else:
        data = bytearray(pack.read_bytes())
        data[WEIGHTS.nbytes // 2] ^= 1
        pack.write_bytes(data)
    save(store_path, "new", 2)
    require_good(store_path, "new@0", 2)
    assert holdfast.Store(store_path).verify("new").ok


@pytest.mark.parametrize("number", [errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOENT])
def test_where_nothing_can_be_linked_it_is_written(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(source: str, target: str, **_: object) -> None:
        raise OSError(number, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    store = LocalStore(store_path)
    store.put("runs/a/packs/x", b"1")
    assert not store.link("runs/a/packs/x", "runs/b/packs/x")


def test_a_second_name_is_an_object_like_others(store_path: Path) -> None:
    store = LocalStore(store_path)
    store.put("runs/a/packs/x", b"1")
    assert not store.link("runs/a/packs/y", "runs/b/packs/y")
    assert store.link("runs/a/packs/x", "runs/b/packs/x")
    assert store.link("runs/a/packs/x", "runs/b/packs/x")
    store.put("runs/a/packs/x", b"2")
    store.delete(["runs/a/packs/x"])
    assert store.get("runs/b/packs/x") == b"1"


def test_what_a_pin_names_is_not_swept(store_path: Path) -> None:
    save(store_path, "r", 1)
    store = open_store(store_path, create=False)
    extra = "runs/r/packs/" + "ab" * 16 + "-00000"
    assert LocalStore(store_path).link(f"runs/r/packs/{packs(store_path, 'r')[0].name}", extra)
    assert [info.key for info in find_garbage(store, "r")] == [extra]
    pins.put_pin(store, "r", pins.Pin("cd" * 16, (), packs=(extra,)))
    assert find_garbage(store, "r") == []
    assert [pin.packs for pin in pins.all_pins(store, "r")] == [(extra,)]


def test_killed_anywhere_in_the_first_save_of_a_run(store_path: Path) -> None:
    save(store_path, "old", 1)
    pristine = store_path.with_name("pristine")
    shutil.copytree(store_path, pristine)

    def work() -> None:
        save(store_path, "new", 2)

    points = killing.kill_points(killing.observe(work, store_path).effects)
    assert any(point.effect == "link" for point in points)
    for point in points[::2]:
        shutil.rmtree(store_path)
        shutil.copytree(pristine, store_path)
        killing.run_killed(work, store_path, point)
        require_good(store_path, "old@0", 1)
        if commits.good_commits(open_store(store_path, create=False), "new"):
            require_good(store_path, "new@0", 2)
        save(store_path, "new", 3, step=1)
        require_good(store_path, "new@1", 3)
        report = holdfast.Store(store_path).verify()
        assert report.ok and not report.problems, point
        assert disk_bytes(store_path) < 1.2 * WEIGHTS.nbytes, point
