"""Repair puts right what can be, byte for byte, and says what cannot."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer


def tree(step: int) -> dict[str, Any]:
    base = np.random.default_rng(0)
    return {
        "a": np.arange(300_000.0) + step,
        "frozen": base.random(200_000),
        "b": {"c": np.full(10, step), "lr": 0.1},
    }


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of three checkpoints that share some chunks, and a tag."""
    path = tmp_path / "s"
    for step in range(3):
        holdfast.save(path, tree(step), run="r", step=step, rng=False)
    holdfast.Store(path).tag("r@1", "t")
    return path


@pytest.fixture
def backup(store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store, tmp_path / "backup"))


def objects(store: Path) -> dict[str, bytes]:
    """Return all that counts in a store; locks, journals and the catalog do not."""
    found = [p for p in store.rglob("*") if p.is_file()]
    return {
        str(p.relative_to(store)): p.read_bytes()
        for p in found
        if p.suffix not in (".lock", ".jsonl") and not p.name.startswith("catalog.sqlite")
    }


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def packs(store: Path) -> list[Path]:
    """Return the packs of the run, oldest first."""
    ids = [info.id for info in holdfast.Store(store).log("r")]
    return sorted((store / "runs/r/packs").iterdir(), key=lambda p: ids.index(p.name[:32]))


def assert_holds(store: Path, *steps: int) -> None:
    for step in steps:
        found = holdfast.load(store, f"r@{step}", verify="full")
        assert (found["a"] == tree(step)["a"]).all()
        assert (found["frozen"] == tree(step)["frozen"]).all()


def test_a_good_store_is_left_as_it_is(store: Path) -> None:
    before = objects(store)
    report = holdfast.Store(store).repair()
    assert report.ok and not report.fixed and report.freed_bytes == 0
    assert objects(store) == before


def test_everything_is_put_right_from_a_copy(store: Path, backup: Path) -> None:
    # Whatever is damaged, alone or with others: afterwards the store is what it was.
    dice = random.Random(0)
    whole = objects(store)
    names = [name for name in whole if name != "holdfast.json"]
    for trial in range(40):
        hurt = names if trial == 0 else dice.sample(names, dice.randint(1, 4))
        for name in hurt:
            path = store / name
            harm = dice.choice(["flip", "cut", "delete", "empty"])
            if harm == "delete" and not name.startswith(("runs/r/commits", "runs/r/tags")):
                path.unlink()
            elif harm == "cut":
                path.write_bytes(whole[name][: dice.randrange(len(whole[name]))])
            elif harm == "empty":
                path.write_bytes(b"")
            else:
                flip(path, dice.randrange(len(whole[name])))
        report = holdfast.Store(store).repair([backup])
        assert report.ok, (hurt, report)
        found = objects(store)
        assert found == whole, [n for n in whole if found.get(n) != whole[n]]


def test_a_chunk_is_found_elsewhere_in_the_store(store: Path) -> None:
    # The same bytes once more, in another run.
    holdfast.save(store, tree(0), run="other", step=7, rng=False)
    before = objects(store)
    flip(packs(store)[0], 5000)
    assert not holdfast.Store(store).verify().ok
    report = holdfast.Store(store).repair()
    assert report.ok and len(report.fixed) == 1
    # The other run has the pack for a chunk that it shares; the one that was hurt it does not need.
    found = {name: data for name, data in objects(store).items() if name.startswith("runs/r/")}
    assert found == {name: data for name, data in before.items() if name in found}
    assert holdfast.Store(store).verify().ok


def test_what_is_beyond_repair_is_told_and_the_rest_put_right(store: Path, backup: Path) -> None:
    for copy in (store, backup):
        flip(packs(copy)[1], 70_000)  # of step 1, in both
    flip(packs(store)[0], 5000)
    report = holdfast.Store(store).repair([backup])
    assert not report.ok
    assert [item.key for item in report.fixed] == [f"runs/r/packs/{packs(backup)[0].name}"]
    assert len(report.lost) == 1 and packs(backup)[1].name in report.lost[0]
    assert report.after is not None
    assert [check.ok for check in report.after.checkpoints] == [True, False, True]
    assert_holds(store, 0, 2)


def test_what_is_in_the_place_of_a_file_is_told_and_the_rest_put_right(
    store: Path, backup: Path
) -> None:
    whole, second = objects(store), packs(store)[1]
    second.unlink()
    second.mkdir()
    with Checkpointer(backup, {"w": 1}, run="written") as ckpt:
        ckpt.save(1).wait()
        ckpt.save(2).wait()
    shutil.copytree(backup / "runs/written", store / "runs/written")
    lost = store / "runs/written/commits/000000000002"
    lost.unlink()
    os.mkfifo(lost)
    flip(packs(store)[0], 5000)
    report = holdfast.Store(store).repair([backup])
    assert not report.ok
    (told,) = report.lost
    assert second.name in told and "a folder is in its place" in told
    second.rmdir()
    assert holdfast.Store(store).repair([backup]).ok
    assert whole.items() <= objects(store).items()
    assert holdfast.load(store, "written@2")["w"] == 1


def test_a_link_in_the_place_of_a_lock_keeps_no_other_run_from_being_put_right(
    store: Path, tmp_path: Path
) -> None:
    holdfast.save(store, {"w": 1}, run="a", step=1, rng=False)
    backup = shutil.copytree(store, tmp_path / "backup")
    (store / "runs/a/writer.lock").unlink()
    (store / "runs/a/writer.lock").symlink_to(tmp_path / "elsewhere")
    flip(packs(store)[0], 5000)
    report = holdfast.Store(store).repair([backup])
    assert [item.key for item in report.fixed] == [f"runs/r/packs/{packs(store)[0].name}"]
    (told,) = report.lost
    assert "runs/a/writer.lock' is a symbolic link" in told and not report.ok
    assert_holds(store, 0, 1, 2)


def test_a_pack_keeps_what_an_unreadable_manifest_may_need(store: Path, backup: Path) -> None:
    # Of the first pack, a chunk is damaged that all need; and the manifest that alone needs another
    # of its chunks is unreadable, and in no copy.
    before = objects(store)
    parts = {p.name: p for p in (store / "runs/r/parts").iterdir()}
    first = holdfast.Store(store).info("r@0").id
    manifest = next(path for name, path in parts.items() if name.startswith(first))
    good = manifest.read_bytes()
    flip(manifest, 30)
    (backup / manifest.relative_to(store)).unlink()
    pack = packs(store)[0]
    whole = pack.read_bytes()
    frozen = whole.index(tree(0)["frozen"].tobytes())
    flip(pack, frozen + 4096)
    report = holdfast.Store(store).repair([backup])
    assert not report.ok and len(report.fixed) == 1
    assert pack.read_bytes() == whole
    manifest.write_bytes(good)
    assert objects(store) == before


def test_a_dry_run_changes_nothing(store: Path, backup: Path) -> None:
    flip(packs(store)[0], 5000)
    (store / "holdfast.json").write_bytes(b"{}")
    before = objects(store)
    report = holdfast.Store(store).repair([backup], dry_run=True)
    assert [item.key for item in report.fixed] == [
        "holdfast.json",
        f"runs/r/packs/{packs(backup)[0].name}",
    ]
    assert report.after is None
    assert objects(store) == before
    assert holdfast.Store(store).repair([backup]).ok
    assert_holds(store, 0, 1, 2)


def test_debris_goes_and_nothing_else(store: Path) -> None:
    before = objects(store)
    runs = store / "runs/r"
    (runs / "packs" / ".tmp-1-2-x").write_bytes(b"x" * 100)
    (runs / "packs" / f"{'ab' * 16}-00000").write_bytes(b"x" * 5000)
    (runs / "pins").mkdir(exist_ok=True)
    (runs / "pins" / ("ab" * 16)).write_text('{"id": "%s", "base_parts": []}' % ("ab" * 16))
    report = holdfast.Store(store).repair()
    assert report.ok and report.freed_bytes == 5000
    assert objects(store) == before


def test_commits_of_another_run_of_the_same_name_are_not_taken(store: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    for step in range(3):
        holdfast.save(stranger, tree(step), run="r", step=step, rng=False)
    first = packs(store)[0]
    flip(store / "runs/r/commits/000000000002", 60)
    report = holdfast.Store(store).repair([stranger])
    assert not report.ok and not report.fixed
    assert "commit 2" in report.lost[0]
    # Chunks are known by their digests, whoever has them.
    flip(first, 5000)
    assert len(holdfast.Store(store).repair([stranger]).fixed) == 1


def test_a_run_that_is_being_written_is_left_alone(store: Path, backup: Path) -> None:
    holdfast.save(store, tree(0), run="other", step=0, rng=False)
    flip(packs(store)[0], 5000)
    code = "import sys, holdfast; print(holdfast.Store(sys.argv[1]).repair(sys.argv[2:]).busy)"
    with Checkpointer(store, tree(3), run="r", rng=False) as ckpt:
        ckpt.save(3).wait()
        told = subprocess.run(
            [sys.executable, "-c", code, str(store), str(backup)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ},
        )
    assert "is being written" in told.stdout
    assert not holdfast.Store(store).verify("r@0").ok
    assert holdfast.Store(store).repair([backup]).ok


# --- what was written about a run ---


def annotated(path: Path) -> holdfast.Store:
    """A run with notes, metrics of steps and a name for good."""
    with Checkpointer(path, {"w": np.zeros(10)}, run="w", rng=False) as ckpt:
        for step in range(3):
            ckpt.step(step, metrics={"loss": 1.0 - step / 10})
        ckpt.save(2).wait()
    store = holdfast.Store(path)
    store.note("w@2", "looks good", {"rated": 5})
    store.note("w", "the first try")
    return store


def test_notes_and_metrics_are_put_right_from_a_copy_and_told_without(
    store: Path, tmp_path: Path
) -> None:
    mine = annotated(store)
    copy = Path(shutil.copytree(store, tmp_path / "copy"))
    whole = objects(store)
    struck = [*(store / "runs/w/notes").iterdir(), *(store / "runs/w/metrics").iterdir()]
    assert len(struck) == 3
    for path in struck:
        flip(path, 40)
    report = mine.verify()
    assert not report.ok and len(report.problems) == 2, "of metrics nothing depends"
    assert len(mine.doctor().problems) == 3
    # Another store, with a run of that name, is no copy.
    other = annotated(tmp_path / "other")
    report = mine.repair([other])
    assert not report.ok and len(report.lost) == 3 and not report.fixed
    assert len(mine.repair([holdfast.Store(copy)], dry_run=True).fixed) == 3
    assert not mine.verify().ok
    report = mine.repair([holdfast.Store(copy)])
    assert report.ok and len(report.fixed) == 3
    assert objects(store) == whole
    assert mine.info("w@2").values == {"rated": 5}
    assert list(mine.metrics("w").series("loss")[0]) == [0, 1, 2]


def test_a_name_that_a_commit_tells_of_is_given_again(tmp_path: Path) -> None:
    path, w = tmp_path / "s", np.zeros(10)
    with Checkpointer(
        path, {"w": w}, run="r", save=holdfast.on.best("loss", name="good"), rng=False
    ) as ckpt:
        ckpt.step(0, metrics={"loss": 0.5})
        ckpt.wait()
    (path / "runs/r/names/good_v1").unlink()
    store = holdfast.Store(path)
    assert [fixed.what for fixed in store.repair(dry_run=True).fixed] == ["name given to r@0 again"]
    assert store.info("r@0").tags == ()
    assert store.repair().ok and store.info("r@good_v1").step == 0
    assert not store.repair().fixed
