"""Store: what is there, named, copied."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_checks import assert_same

import holdfast
from holdfast.errors import ChunkDamaged, InvalidName, NotFound, RunBusy, UsageError
from holdfast.format.names import RunKeys
from holdfast.records import commits
from holdfast.store.local import LocalStore
from holdfast.testing import MemoryStore


def state(step: int) -> dict[str, Any]:
    shared = np.arange(100_000.0)
    return {"frozen": shared, "again": shared, "w": np.full(50_000, float(step)), "t": (step, "x")}


@pytest.fixture
def store(store_path: Path) -> holdfast.Store:
    for step in (1, 2, 3):
        holdfast.save(store_path, state(step), run="my run", step=step, metrics={"loss": 1 / step})
    return holdfast.Store(store_path)


def test_a_store_that_is_not_there_yet(store_path: Path) -> None:
    store = holdfast.Store(store_path)
    assert str(store_path) in repr(store)
    for call in (store.runs, lambda: store.log("r"), lambda: store.info("r@1"), store.verify):
        with pytest.raises(NotFound, match="no store"):
            call()
    assert not store_path.exists()
    holdfast.save(store, {"a": 1}, run="r", step=1)
    assert store.runs() == ["r"]
    assert holdfast.Store(store).path == store.path


def test_runs_and_log(store: holdfast.Store) -> None:
    holdfast.save(store, state(1), run="a", step=5)
    assert store.runs() == ["a", "my run"]
    assert [(i.ref, i.seq) for i in store.log("my run")] == [
        ("my run@1", 1),
        ("my run@2", 2),
        ("my run@3", 3),
    ]
    with pytest.raises(NotFound, match="Runs there: 'a', 'my run'"):
        store.log("other")


# --- tags ---


def test_tags_come_and_move_and_go(store: holdfast.Store) -> None:
    store.tag("my run@1", "best_model_v1")
    store.tag("my run@best:loss", "lowest")
    assert store.info("my run@best_model_v1").step == 1
    assert store.info("my run@1").tags == ("best_model_v1",)
    store.tag("my run@2", "best_model_v1")
    assert store.info("my run@best_model_v1").step == 2
    assert store.info("my run@1").tags == ()
    assert [i.tags for i in store.log("my run")] == [(), ("best_model_v1",), ("lowest",)]
    store.untag("my run", "best_model_v1")
    with pytest.raises(NotFound):
        store.info("my run@best_model_v1")
    assert store.info("my run@2").step == 2
    assert_same(holdfast.load(store, "my run@lowest"), state(3))


def test_a_tag_can_be_given_by_a_tag(store: holdfast.Store) -> None:
    store.tag("my run@1", "first")
    store.tag("my run@first", "also")
    assert store.info("my run@also").tags == ("also", "first")


@pytest.mark.parametrize("name", ["latest", "best", "7", "best:x", "", "a@b", "a\nb", None])
def test_names_that_cannot_be_tags(store: holdfast.Store, name: Any) -> None:
    with pytest.raises(InvalidName):
        store.tag("my run@1", name)


@pytest.mark.parametrize("name", ["none", "../../holdfast.json", "..", "latest"])
def test_tags_that_are_not_there_cannot_be_taken_away(store: holdfast.Store, name: str) -> None:
    with pytest.raises(NotFound):
        store.untag("my run", name)
    assert Path(store.path, "holdfast.json").exists()
    with pytest.raises(NotFound):
        store.untag("other", "x")


def test_hostile_names_stay_in_the_store(store_path: Path) -> None:
    for name in ("..", "../../x", "/etc", "~", ".hidden", "a/../../../b"):
        holdfast.save(store_path, {"a": 1}, run=name, step=1, tag=name)
        assert holdfast.load(store_path, f"{name}@{name}") == {"a": 1}
    assert sorted(p.name for p in store_path.parent.iterdir()) == [store_path.name]
    assert sorted(p.name for p in store_path.iterdir()) == [
        "catalog.sqlite",
        "holdfast.json",
        "runs",
    ]
    assert set(holdfast.Store(store_path).runs()) == {
        *("..", "../../x", "/etc", "~", ".hidden", "a/../../../b")
    }


# --- copies ---


def test_a_copy_is_the_same_checkpoint_elsewhere(store: holdfast.Store, tmp_path: Path) -> None:
    other = holdfast.Store(tmp_path / "other")
    for step in (1, 3):
        info = store.copy(f"my run@{step}", other)
        assert (info.run, info.step, info.metrics) == ("my run", step, {"loss": 1 / step})
        assert info.parent == store.info(f"my run@{step}").id
    assert [i.step for i in other.log("my run")] == [1, 3]
    for step in (1, 3):
        found = holdfast.load(other, f"my run@{step}", verify="full")
        assert_same(found, state(step))
        assert found["frozen"] is found["again"]
    assert other.verify().ok
    assert other.log("my run")[1].stored_bytes < 500_000
    mine, theirs = store.leaves("my run@3"), other.leaves("my run@3")
    assert mine == theirs


def test_a_copy_stands_on_its_own(store: holdfast.Store, tmp_path: Path) -> None:
    other = tmp_path / "other"
    store.copy("my run@3", other)
    for step in (1, 2, 3):
        store.remove(f"my run@{step}")
    assert_same(holdfast.load(other, "my run@latest"), state(3))


def test_a_large_copy(store_path: Path, tmp_path: Path) -> None:
    big = {"a": np.random.default_rng(0).random(9 << 20), "b": [1, "x"]}
    holdfast.save(store_path, big, run="r", step=1, rng=False)
    holdfast.Store(store_path).copy("r@1", store_path.parent / "other")
    assert_same(holdfast.load(store_path.parent / "other", "r@1"), big)


def test_a_damaged_checkpoint_is_not_copied(store: holdfast.Store, tmp_path: Path) -> None:
    local = LocalStore(store.path)
    record = commits.read_commit(local, "my run", 3)
    key = RunKeys("my run").pack(record.id, 0)
    data = bytearray(local.get(key))
    data[1000] ^= 1
    local.put(key, data)
    other = holdfast.Store(tmp_path / "other")
    with pytest.raises(ChunkDamaged):
        store.copy("my run@3", other)
    assert other.log("my run") == []
    assert list(LocalStore(other.path).list(RunKeys("my run").packs)) == []
    store.copy("my run@1", other)
    assert other.verify().ok


def test_a_store_is_not_copied_into_itself(store: holdfast.Store, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store.path)
    for other in (store, store.path, tmp_path / "link"):
        with pytest.raises(UsageError, match="same place"):
            store.copy("my run@1", other)
    assert len(store.log("my run")) == 3


def test_a_run_that_is_being_written_is_not_copied_into(
    store: holdfast.Store, tmp_path: Path
) -> None:
    with holdfast.Checkpointer(tmp_path / "other", {"a": 1}, run="my run") as ckpt:
        ckpt.save(1).wait()
        with pytest.raises(RunBusy):
            store.copy("my run@1", tmp_path / "other")


# --- stores that are objects ---


def test_a_store_may_be_any_object_store() -> None:
    inner, other = MemoryStore(), MemoryStore()
    info = holdfast.save(inner, {"a": np.arange(5)}, run="r", step=1, rng=False)
    store = holdfast.Store(holdfast.Store(inner))
    assert (store.path, store.runs()) == (inner.location, ["r"])
    assert store.info("r@latest") == info
    store.tag("r@1", "kept")
    store.copy("r@kept", other)
    np.testing.assert_equal(holdfast.load(other, "r@1"), {"a": np.arange(5)})
    assert store.repair([other]).ok
    with pytest.raises(UsageError, match="the same place"):
        store.copy("r@1", inner)
    with pytest.raises(NotFound, match="no store at 'memory:"):
        holdfast.load(MemoryStore(), "r@1")


def test_an_object_store_is_no_path_and_not_for_other_processes() -> None:
    store = holdfast.Store(MemoryStore())
    with pytest.raises(UsageError, match="no path"):
        os.fspath(store)
    with pytest.raises(UsageError, match="cannot be opened by another process"):
        holdfast.Checkpointer(store, {"a": np.arange(5)}, run="r")


def test_what_is_no_store_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="a path or an ObjectStore, not a dict"):
        holdfast.Store({})  # type: ignore[arg-type]
