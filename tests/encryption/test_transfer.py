"""Checkpoints go between plain stores and encrypted ones, and chunks come back from either."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sealed_stores import RUN, fill, flip, loads, tree

import holdfast
from holdfast import keep
from holdfast.errors import KeyNeeded
from holdfast.security.keys import Identity


def test_copies_between_plain_and_encrypted_stores(
    tmp_path: Path, me: Identity, ada: Identity
) -> None:
    plain = holdfast.Store(tmp_path / "plain")
    holdfast.save(plain, tree(1), run=RUN, step=1, rng=False, metrics={"loss": 0.5})
    mine = holdfast.Store(tmp_path / "mine", keys=me)
    theirs = holdfast.Store(tmp_path / "theirs", keys=ada)
    back = holdfast.Store(tmp_path / "back")
    for source, target in ((plain, mine), (mine, theirs), (theirs, back)):
        copied = source.copy(f"{RUN}@1", target)
        assert copied.metrics == {"loss": 0.5}
        assert loads(target, f"{RUN}@1", verify="full") and target.verify().ok
    assert [store.is_encrypted for store in (plain, mine, theirs, back)] == [0, 1, 1, 0]
    with pytest.raises(KeyNeeded):
        plain.copy(f"{RUN}@1", mine.path)


@pytest.mark.parametrize("source", ["plain", "mine", "theirs"])
def test_chunks_are_repaired_from_any_store_that_has_the_same_bytes(
    source: str, tmp_path: Path, me: Identity, ada: Identity
) -> None:
    store = fill(tmp_path / "store", me)
    keys = {"plain": None, "mine": me, "theirs": ada}[source]
    other = holdfast.Store(tmp_path / source, keys=keys)
    for step in (1, 2):
        store.copy(f"{RUN}@{step}", other)
    for pack in Path(store.path).glob("runs/*/packs/*"):
        flip(pack, 99)
        flip(pack, 400 << 10)
    assert not store.verify().ok
    report = store.repair([other])
    assert report.ok and report.fixed and store.verify().ok
    assert all(loads(store, f"{RUN}@{step}", verify="full") for step in (1, 2))


def test_chunks_of_a_plain_store_are_repaired_from_an_encrypted_one(
    tmp_path: Path, me: Identity
) -> None:
    plain = holdfast.Store(tmp_path / "plain")
    holdfast.save(plain, tree(1), run=RUN, step=1, rng=False)
    sealed = holdfast.Store(tmp_path / "sealed", keys=me)
    plain.copy(f"{RUN}@1", sealed)
    (pack,) = Path(plain.path).glob("runs/*/packs/*")
    pack.unlink()
    assert plain.repair([sealed]).ok and loads(plain, f"{RUN}@1", verify="full")


def test_records_are_repaired_from_a_copy_of_the_folder(tmp_path: Path, me: Identity) -> None:
    store = fill(tmp_path / "store", me)
    backup = holdfast.Store(shutil.copytree(store.path, tmp_path / "backup"), keys=me)
    store.tag(f"{RUN}@1", "fixed", fixed=True)
    backup.tag(f"{RUN}@1", "fixed", fixed=True)
    for pattern in ("commits/*1", "parts/*", "tags/*", "names/*"):
        for path in Path(store.path).glob(f"runs/*/{pattern}"):
            flip(path, 60)
    # Another process, which has not seen yet what a tag is called.
    store = holdfast.Store(store.path, keys=me)
    assert not store.repair(dry_run=True).ok
    assert store.repair([backup]).ok
    assert store.info(f"{RUN}@good").step == 2 and store.info(f"{RUN}@fixed").step == 1
    assert all(loads(store, f"{RUN}@{step}", verify="full") for step in (1, 2))


def test_all_that_is_done_to_checkpoints_is_done_to_sealed_ones(
    tmp_path: Path, me: Identity
) -> None:
    store = fill(tmp_path / "store", me, runs=("a", "b"))
    for step in (3, 4, 5):
        holdfast.save(store, tree(step), run="a", step=step, rng=False, metrics={"loss": step})
    assert store.runs() == ["a", "b"]
    assert store.info("a@best:loss").step == 1 and store.info("a@good").step == 2
    assert {leaf.path for leaf in store.leaves("a@3")} >= {"moves/0", "stays", "small/step"}
    report = store.prune("a", keep.last(1))
    assert [info.step for info, _ in report.removed] == [1, 3, 4] and report.freed_bytes > 500_000
    store.untag("a", "good")
    assert store.remove("a@2").freed_bytes > 0
    assert loads(store, "a@5") and [info.step for info in store.log("a")] == [5]
    assert store.doctor().problems == () and store.doctor().facts["unneeded_bytes"] == 0
    assert store.verify().ok
