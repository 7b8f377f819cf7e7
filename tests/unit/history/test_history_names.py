"""Names that are for good, the sequences that the writer gives, and notes."""

from __future__ import annotations

import math
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer, keep, on
from holdfast.errors import (
    AlreadyExists,
    HoldfastError,
    InvalidName,
    ManifestDamaged,
    NotFound,
    UsageError,
)
from holdfast.format.names import RunKeys
from holdfast.records import notes, tags
from holdfast.records.notes import Note
from holdfast.records.opening import open_store
from holdfast.store.local import LocalStore

KEYS = RunKeys("r")


def save(path: Path, step: int, **options: Any) -> holdfast.CheckpointInfo:
    return holdfast.save(path, {"a": np.arange(3.0)}, run="r", step=step, rng=False, **options)


@pytest.fixture
def store(store_path: Path) -> holdfast.Store:
    for step in (1, 2, 3):
        save(store_path, step, metrics={"loss": 1 / step})
    return holdfast.Store(store_path)


# --- names ---


def test_a_name_is_a_ref_and_never_moves(store: holdfast.Store) -> None:
    store.tag("r@1", "v1", fixed=True)
    store.tag("r@1", "v1", fixed=True)  # To say it again is no harm.
    for attempt in (
        lambda: store.tag("r@2", "v1", fixed=True),
        lambda: store.tag("r@2", "v1"),
        lambda: store.tag("r@1", "v1"),
        lambda: save(Path(store.path), 9, tag="v1"),
    ):
        with pytest.raises(AlreadyExists, match="for good"):
            attempt()
    with pytest.raises(UsageError, match="not taken away"):
        store.untag("r", "v1")
    assert store.info("r@v1").step == 1 and store.info("r@1").tags == ("v1",)
    assert holdfast.load(store, "r@v1")["a"].tolist() == [0, 1, 2]
    assert store.verify("r@v1").ok


def test_a_tag_hides_no_name_and_a_name_no_tag(store: holdfast.Store) -> None:
    store.tag("r@1", "mine")
    with pytest.raises(AlreadyExists, match="is a tag that moves"):
        store.tag("r@2", "mine", fixed=True)
    assert store.info("r@mine").step == 1
    for name in ("latest", "best", "best:loss", "7", "-7", "head"):
        with pytest.raises(InvalidName):
            store.tag("r@1", name, fixed=True)
    # Two that were given at the same moment: the name counts.
    tags.put_name(open_store(store.path, create=False), "r", "both", store.info("r@2").id)
    raw = LocalStore(store.path)
    raw.put(KEYS.tag("both"), raw.get(KEYS.tag("mine")).replace(b"mine", b"both"))
    assert store.info("r@both").step == 2


def test_names_survive_pruning_and_are_not_given_again(store: holdfast.Store) -> None:
    store.tag("r@1", "v1", fixed=True)
    store.prune("r", keep.last(1))
    assert [info.step for info in store.log("r")] == [1, 3]
    store.remove("r@v1")
    assert store.verify().ok and store.doctor().problems == ()
    with pytest.raises(NotFound, match="not there any more"):
        store.info("r@v1")
    with pytest.raises(AlreadyExists):
        store.tag("r@3", "v1", fixed=True)


def test_a_damaged_name_is_told_and_never_overwritten(
    store: holdfast.Store, tmp_path: Path
) -> None:
    store.tag("r@1", "v1", fixed=True)
    path = Path(store.path, KEYS.name("v1"))
    whole = path.read_bytes()
    backup = tmp_path / "backup"
    subprocess.run(["cp", "-r", store.path, backup], check=True)
    path.write_bytes(whole[:-9])
    for attempt in (lambda: store.info("r@v1"), lambda: store.tag("r@1", "v1", fixed=True)):
        with pytest.raises(ManifestDamaged):
            attempt()
    assert "the name 'v1' of run 'r' is damaged" in str(store.verify("r").problems)
    assert store.repair([backup]).ok
    assert path.read_bytes() == whole and store.info("r@v1").step == 1


def test_of_many_that_name_at_once_one_wins(store: holdfast.Store) -> None:
    outcomes: list[int] = []

    def name(step: int) -> None:
        try:
            store.tag(f"r@{step}", "winner", fixed=True)
            outcomes.append(step)
        except AlreadyExists:
            pass

    threads = [threading.Thread(target=name, args=(step,)) for step in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [store.info("r@winner").step]


# --- sequences ---


def train(path: Path, losses: list[float], run: str = "r", **options: Any) -> None:
    policy = on.best("loss", name="model") | on.best("acc", mode="max", name="top")
    with Checkpointer(path, {"w": np.zeros(3)}, run=run, save=policy, **options) as ckpt:
        ckpt.restore()
        for loss in losses:
            ckpt.step(ckpt.next_step, {"loss": loss, "acc": -loss})
            ckpt.next_step += 1


def names_of(path: Path, run: str = "r") -> dict[str, int]:
    return {name: info.step for info in holdfast.Store(path).log(run) for name in info.tags}


def test_the_writer_gives_names_in_sequence(store_path: Path) -> None:
    train(store_path, [5.0, 6.0, math.nan, 4.0], keep=keep.last(1))
    train(store_path, [4.5, 3.0], keep=keep.last(1))
    assert names_of(store_path) == {
        **{"model_v1": 0, "model_v2": 3, "model_v3": 5},
        **{"top_v1": 0, "top_v2": 3, "top_v3": 5},
    }
    # Another run counts for itself.
    train(store_path, [1.0], run="other")
    assert names_of(store_path, "other") == {"model_v1": 0, "top_v1": 0}


def test_numbers_that_people_have_used_are_passed_over(store_path: Path) -> None:
    train(store_path, [5.0])
    store = holdfast.Store(store_path)
    store.tag("r@0", "model_v7", fixed=True)
    store.tag("r@0", "top_v3")
    store.tag("r@0", "model_v08")  # No number of the sequence: it would have no zero in front.
    train(store_path, [4.0])
    assert {name for name, step in names_of(store_path).items() if step == 1} == {
        "model_v8",
        "top_v4",
    }


def test_a_sequence_has_a_name_that_tags_may_have() -> None:
    for name in ("a@b", "", " x", "x" * 199):
        with pytest.raises(InvalidName):
            on.best("loss", name=name)


# --- notes ---


def test_notes_add_up_and_the_last_value_counts(store: holdfast.Store) -> None:
    store.note("r@2", "first", {"lr": 0.5, "ok": True})
    store.note("r@2", values={"lr": "0.25", "ok": None, "n": 3})
    store.note("r@2", "second")
    store.note("r", "a run", {"owner": "kelp"})
    info = store.info("r@2")
    assert (info.notes, dict(info.values)) == (("first", "second"), {"lr": "0.25", "n": 3})
    assert store.log("r")[1] == info and store.log("r")[0].notes == ()
    written = store.history("r").written
    assert (written.texts, dict(written.values)) == (("a run",), {"owner": "kelp"})
    assert store.verify().ok


def test_values_of_notes_are_numbers_of_any_library(store: holdfast.Store) -> None:
    store.note("r@2", values={"a": np.float32(0.5), "b": np.int64(3), "c": np.True_})
    found = store.info("r@2").values
    assert dict(found) == {"a": 0.5, "b": 3, "c": True} and found["c"] is True


@pytest.mark.parametrize(
    ("target", "text", "values", "error"),
    [
        ("r@2", None, {}, UsageError),
        ("r@2", "", {}, UsageError),
        ("r@2", 3, {}, UsageError),
        ("r@2", None, {"x": math.nan}, UsageError),
        ("r@2", None, {"x": [1]}, UsageError),
        ("r@2", None, {"x": np.array([1.0])}, UsageError),
        ("r@2", None, {"x": np.float32("nan")}, UsageError),
        ("r@2", "text", ["x"], UsageError),
        ("r@2", None, {"": 1}, UsageError),
        ("r@99", "x", {}, NotFound),
        ("nobody", "x", {}, NotFound),
        ("r@2@3", "x", {}, InvalidName),
    ],
)
def test_notes_that_cannot_be(
    store: holdfast.Store, target: str, text: Any, values: Any, error: type[HoldfastError]
) -> None:
    with pytest.raises(error):
        store.note(target, text, values)
    assert not Path(store.path, KEYS.notes).exists()


def test_notes_of_many_at_once_are_all_there(store: holdfast.Store) -> None:
    threads = [threading.Thread(target=store.note, args=("r@1", str(n))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(store.info("r@1").notes, key=int) == [str(n) for n in range(20)]


def test_a_clock_that_goes_back_does_not_bring_back_a_value(store: holdfast.Store) -> None:
    raw, name = open_store(store.path, create=False), store.info("r@1").id
    notes.add(raw, "r", Note(name, None, {"x": "old"}, created_ns=10**18))
    notes.add(raw, "r", Note(name, None, {"x": "new"}, created_ns=10**17))
    assert store.info("r@1").values == {"x": "new"}


def test_a_damaged_note_is_told_and_passed_over(
    store: holdfast.Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.note("r@1", "one")
    store.note("r@1", "two")
    Path(store.path, KEYS.note(1)).write_bytes(b"spoilt")
    assert store.info("r@1").notes == ("two",)
    assert "note 1 of run 'r' is damaged" in caplog.text
    assert "note 1 of run 'r'" in str(store.verify("r").problems + store.doctor().problems)
    # Another's in its place is no better.
    raw = LocalStore(store.path)
    raw.put(KEYS.note(1), raw.get(KEYS.note(2)))
    assert store.info("r@1").notes == ("two",)
