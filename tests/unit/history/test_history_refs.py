"""Refs: steps, latest, best and tags."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer
from holdfast.errors import HoldfastError, InvalidName, ManifestDamaged, NotFound
from holdfast.format.names import RunKeys
from holdfast.history.refs import split_ref
from holdfast.store.local import LocalStore


def save(path: Path, step: int, run: str = "r", **options: Any) -> holdfast.CheckpointInfo:
    info: holdfast.CheckpointInfo = holdfast.save(
        path, {"step": step, "a": np.arange(step)}, run=run, step=step, rng=False, **options
    )
    return info


@pytest.fixture
def store(store_path: Path) -> holdfast.Store:
    nan = math.nan
    save(store_path, 10, metrics={"loss": 0.9, "acc": 0.1})
    save(store_path, 20, metrics={"loss": 0.4, "acc": 0.5, "odd": nan})
    save(store_path, 30, metrics={"loss": nan, "acc": math.inf, "odd": nan})
    save(store_path, 5, metrics={"loss": 0.4, "acc": 0.5, "a:b": 1.0})
    save(store_path, 40, metrics={"loss": -math.inf, "acc": nan}, tag="v1.0")
    save(store_path, 7)
    return holdfast.Store(store_path)


@pytest.mark.parametrize(
    ("ref", "step"),
    [
        ("r@10", 10),
        ("r@+10", 10),
        ("r@0010", 10),
        ("r@latest", 7),
        ("r@best:loss", 20),
        ("r@best:loss:min", 20),
        ("r@best:loss:max", 10),
        ("r@best:acc", 10),
        ("r@best:acc:max", 20),
        ("r@best:a:b", 5),
        ("r@v1.0", 40),
    ],
)
def test_refs(store: holdfast.Store, ref: str, step: int) -> None:
    assert store.info(ref).step == step
    assert holdfast.load(store, ref)["step"] == step


def test_what_has_lost_its_commit_is_not_passed_over_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s"
    with Checkpointer(path, {"w": 1}, run="r") as ckpt:
        for step in (1, 2, 3):
            ckpt.save(step, metrics={"loss": 1 / step}, tag=f"t{step}").wait()
    store = holdfast.Store(path)
    for ref in ("r@best:loss", "r@latest", "r@3", "r@t3"):
        assert store.info(ref).step == 3
    assert not caplog.text
    (path / RunKeys("r").commit(3)).unlink()
    for ref in ("r@best:loss", "r@latest"):
        caplog.clear()
        assert store.info(ref).step == 2
        assert f"{ref} means r@2, but: The commit record of r@3" in caplog.text
    for ref in ("r@3", "r@t3"):
        with pytest.raises(ManifestDamaged, match=r"The commit record of r@3 .* is missing"):
            store.info(ref)
    caplog.clear()
    assert store.info("r@2").step == 2 and not caplog.text
    for step in (1, 2):
        (path / RunKeys("r").commit(step)).unlink()
    with pytest.raises(ManifestDamaged, match=r"The commit record of r@3 .* is missing"):
        store.info("r@latest")
    with pytest.raises(NotFound, match="no checkpoint"):
        store.info("r@4")
    store.remove("r@3")
    with pytest.raises(NotFound):
        store.info("r@3")


def test_latest_is_the_newest_save_not_the_highest_step(store: holdfast.Store) -> None:
    assert store.info("r@latest").step == 7
    save(Path(store.path), 1)
    assert store.info("r@latest").step == 1


def test_of_equal_values_the_first_is_best(store: holdfast.Store) -> None:
    # Step 5 was saved after step 20, with the same loss.
    assert store.info("r@best:loss").step == 20


def test_a_step_that_was_saved_again_means_the_newest(store_path: Path) -> None:
    infos = [save(store_path, 10, metrics={"n": n}) for n in range(3)]
    assert len({info.id for info in infos}) == 3
    assert holdfast.Store(store_path).info("r@10").metrics == {"n": 2}
    assert [i.metrics["n"] for i in holdfast.Store(store_path).log("r")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("ref", "named"),
    [
        ("r@11", "step 11"),
        ("r@-1", "step -1"),
        ("r@best:odd", "finite metric 'odd'"),
        ("r@best:none", "Metrics there: a:b, acc, loss, odd"),
        ("r@best:", "metric ''"),
        ("r@nothing", "Its tags: v1.0"),
        ("r@1.0", "no tag"),
        ("r@best", "by which metric"),
        ("r@../../x", "no tag"),
        ("other@latest", "no run 'other'"),
        ("..@latest", "no run"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    store: holdfast.Store, ref: str, named: str
) -> None:
    for call in (store.info, lambda ref: holdfast.load(store, ref)):
        with pytest.raises(NotFound) as caught:
            call(ref)
        assert named in str(caught.value)


@pytest.mark.parametrize("ref", ["--5", "+-5", "+", "9" * 5000, "٣", "²", " 5", "5 "])
def test_odd_numbers_are_not_found_either(store: holdfast.Store, ref: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        store.info(f"r@{ref}")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "ref", ["", "r", "r@", "@5", "@", "r@5@6", "r @5", " r@5", "a\nb@5", None, 5, b"r@5"]
)
def test_what_is_no_ref(store: holdfast.Store, ref: Any) -> None:
    with pytest.raises(InvalidName):
        split_ref(ref)
    with pytest.raises(InvalidName):
        store.info(ref)
    with pytest.raises(InvalidName):
        holdfast.load(store, ref)


def test_a_run_without_checkpoints(store_path: Path) -> None:
    save(store_path, 1)
    store = holdfast.Store(store_path)
    store.remove("r@1")
    for ref in ("r@latest", "r@1", "r@best:loss", "r@tag"):
        with pytest.raises(NotFound, match="no checkpoint yet"):
            store.info(ref)
    assert store.log("r") == []


def test_damaged_commits_are_passed_over_but_not_in_silence(store: holdfast.Store) -> None:
    local = LocalStore(store.path)
    key = RunKeys("r").commit(6)
    local.put(key, local.get(key)[:-1])
    assert store.info("r@latest").step == 40
    with pytest.raises(ManifestDamaged, match=r"1 commit record\(s\) of the run cannot be read"):
        store.info("r@7")
    assert [i.step for i in store.log("r")] == [10, 20, 30, 5, 40]


def test_a_run_of_which_every_commit_is_damaged(store_path: Path) -> None:
    save(store_path, 1)
    local = LocalStore(store_path)
    local.put(RunKeys("r").commit(1), b"")
    with pytest.raises(ManifestDamaged):
        holdfast.Store(store_path).info("r@1")


def test_a_tag_of_what_is_gone(store: holdfast.Store) -> None:
    local = LocalStore(store.path)
    local.delete([RunKeys("r").commit(5)])
    with pytest.raises(NotFound, match="not there any more"):
        store.info("r@v1.0")


def test_the_best_of_a_run_with_a_damaged_commit_cannot_be_told(store: holdfast.Store) -> None:
    """It may have been the damaged one: another is not handed out in its place."""
    local = LocalStore(store.path)
    key = RunKeys("r").commit(2)
    local.put(key, local.get(key)[:-1])
    with pytest.raises(ManifestDamaged, match="it is r@5: ask for that") as caught:
        holdfast.load(store.path, "r@best:loss")
    assert caught.value.best_readable == 5
    assert store.info("r@10").step == 10


def test_a_step_whose_newest_save_may_be_damaged_is_not_handed_out_in_silence(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(store_path, 1)
    save(store_path, 1)
    local = LocalStore(store_path)
    key = RunKeys("r").commit(2)
    local.put(key, local.get(key)[:-1])
    assert holdfast.load(store_path, "r@1")["step"] == 1
    assert key in caplog.text and "may have been of the same step" in caplog.text


def test_a_tag_of_a_damaged_commit(store: holdfast.Store) -> None:
    local = LocalStore(store.path)
    key = RunKeys("r").commit(5)
    local.put(key, local.get(key)[:-1])
    with pytest.raises(ManifestDamaged, match=r"v1\.0"):
        store.info("r@v1.0")
