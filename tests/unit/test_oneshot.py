"""save and load: one checkpoint, no training loop."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_checks import assert_same

import holdfast
from holdfast.errors import InvalidName, NotFound, RunBusy, StoreUnavailable, UsageError

STATE = {"w": np.arange(1000.0), "n": 5}


def test_what_is_told_of_a_save(store_path: Path) -> None:
    before = datetime.now(UTC)
    info = holdfast.save(
        store_path, STATE, run="gpt/2", step=7, metrics={"loss": 0.25, "nan": None}, tag="v1"
    )
    assert (info.run, info.step, info.ref, info.tags) == ("gpt/2", 7, "gpt/2@7", ("v1",))
    assert len(info.id) == 32 and int(info.id, 16) >= 0
    assert before - timedelta(seconds=1) <= info.created <= datetime.now(UTC)
    assert info.metrics["loss"] == 0.25 and math.isnan(info.metrics["nan"])
    assert info.seq == 1 and info.parent is None
    assert info.state_bytes > 8000 and info.stored_bytes > 8000
    assert info.environment["holdfast"] == holdfast.__version__
    [listed] = holdfast.Store(store_path).log("gpt/2")
    assert listed.id == info.id and listed.tags == ("v1",) and listed.ref == info.ref
    without_rng = holdfast.save(store_path, STATE, run="r", step=7, rng=False)
    assert (without_rng.state_bytes, without_rng.n_leaves) == (8000, 2)


def test_a_clock_from_before_the_epoch_costs_no_checkpoint(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("time.time_ns", lambda: -5 * 10**9)
        info = holdfast.save(store_path, STATE, run="r", step=0)
    assert info.created == datetime(1970, 1, 1, tzinfo=UTC)
    assert holdfast.load(store_path, "r@latest")["n"] == 5
    assert holdfast.Store(store_path).verify().ok


def test_saves_of_a_run_follow_one_another(store_path: Path) -> None:
    infos = [holdfast.save(store_path, STATE, run="r", step=step) for step in (1, 2, 2)]
    assert [i.seq for i in infos] == [1, 2, 3]
    assert [i.parent for i in infos] == [None, infos[0].id, infos[1].id]


def test_locations_of_every_kind(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_path.mkdir()
    monkeypatch.chdir(store_path)
    for i, location in enumerate(
        ["relative/to/here", store_path / "a path", str(store_path / "text"), store_path]
    ):
        holdfast.save(location, STATE, run="r", step=i)
        assert holdfast.load(location, f"r@{i}")["n"] == 5
        store = holdfast.Store(location)
        holdfast.save(store, STATE, run="again", step=i)
        assert holdfast.load(store, "again@latest")["n"] == 5
        assert os.fspath(store) == store.path == os.path.abspath(location)


def test_a_folder_that_is_not_empty_can_become_a_store(store_path: Path) -> None:
    store_path.mkdir()
    (store_path / "notes.txt").write_text("mine")
    holdfast.save(store_path, STATE, run="r", step=1)
    assert (store_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"run": ""}, InvalidName),
        ({"run": "a@b"}, InvalidName),
        ({"run": None}, InvalidName),
        ({"step": -1}, UsageError),
        ({"step": 1.5}, UsageError),
        ({"step": True}, UsageError),
        ({"step": None}, UsageError),
        ({"step": 2**63}, UsageError),
        ({"tag": "latest"}, InvalidName),
        ({"tag": "5"}, InvalidName),
        ({"tag": ""}, InvalidName),
        ({"metrics": {"a": "b"}}, UsageError),
        ({"metrics": 5}, UsageError),
        ({"only": ""}, UsageError),
        ({"skip": 5}, (UsageError, TypeError)),
    ],
    ids=str,
)
def test_calls_that_cannot_be_touch_nothing(
    store_path: Path, options: dict[str, Any], error: Any
) -> None:
    with pytest.raises(error):
        holdfast.save(store_path, STATE, **{"run": "r", "step": 1} | options)
    assert not store_path.exists()


def test_a_step_may_be_a_numpy_integer(store_path: Path) -> None:
    info = holdfast.save(store_path, STATE, run="r", step=np.int64(5))  # type: ignore[arg-type]
    assert type(info.step) is int
    assert holdfast.load(store_path, "r@5")["n"] == 5


def test_loading_what_is_not_there(store_path: Path) -> None:
    with pytest.raises(NotFound, match="no store"):
        holdfast.load(store_path, "r@latest")
    assert not store_path.exists()
    holdfast.save(store_path, STATE, run="r", step=1)
    for ref in ("r@2", "other@latest", "r@tag", "r@best:loss"):
        with pytest.raises(NotFound):
            holdfast.load(store_path, ref)


def test_loading_makes_no_file(store_path: Path) -> None:
    holdfast.save(store_path, STATE, run="r", step=1)
    before = {p: p.stat().st_mtime_ns for p in store_path.rglob("*")}
    holdfast.load(store_path, "r@latest")
    holdfast.load(store_path, "r@1", into={"w": np.zeros(1000), "n": 0})
    assert {p: p.stat().st_mtime_ns for p in store_path.rglob("*")} == before


def test_a_location_that_is_a_file(store_path: Path) -> None:
    store_path.write_text("mine")
    for call in (
        lambda: holdfast.save(store_path, STATE, run="r", step=1),
        lambda: holdfast.load(store_path, "r@1"),
        lambda: holdfast.Store(store_path).runs(),
        lambda: holdfast.Checkpointer(store_path, dict(STATE), run="r"),
    ):
        with pytest.raises(StoreUnavailable, match="is a file"):
            call()
    assert store_path.read_text() == "mine"


def test_an_unknown_way_to_verify(store_path: Path) -> None:
    holdfast.save(store_path, STATE, run="r", step=1)
    with pytest.raises(UsageError, match="'fast' nor 'full'"):
        holdfast.load(store_path, "r@1", verify="none")


def test_what_differs_in_the_environment_is_said(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from holdfast.state import environment

    holdfast.save(store_path, STATE, run="r", step=1)
    real = environment.capture()
    monkeypatch.setattr(environment, "capture", lambda: real | {"python": "4.0", "host": "moon"})
    result = holdfast.load(store_path, "r@1", into={"w": np.zeros(1000), "n": 0})
    text = "\n".join(result.differences)
    assert "4.0" in text and "moon" in text
    assert any("4.0" in r.getMessage() for r in caplog.records)


def test_the_tree_that_was_saved_is_not_changed(store_path: Path) -> None:
    state: dict[str, Any] = {"a": [1, {"b": np.ones(3)}], "c": (1,)}
    holdfast.save(store_path, state, run="r", step=1)
    assert_same(state, {"a": [1, {"b": np.ones(3)}], "c": (1,)})


def test_threads_that_save_one_run_take_turns(tmp_path: Path) -> None:
    def save(step: int) -> None:
        holdfast.save(tmp_path, {"w": np.full(1000, step)}, run="r", step=step)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, range(24)))
    assert sorted(info.step for info in holdfast.Store(tmp_path).log("r")) == list(range(24))


def test_a_run_that_this_process_writes_already_is_busy(tmp_path: Path) -> None:
    with holdfast.Checkpointer(tmp_path, {"w": np.ones(3)}, run="r") as ckpt:
        ckpt.save(0).wait()
        with pytest.raises(RunBusy, match="this very process"):
            holdfast.save(tmp_path, {"w": np.ones(3)}, run="r", step=1)


def test_what_is_neither_true_nor_false_is_not_taken_for_true(store_path: Path) -> None:
    tree = {"w": np.zeros(3)}
    for call in (
        lambda: holdfast.save(store_path, tree, run="r", step=1, rng="no"),
        lambda: holdfast.Checkpointer(store_path, tree, run="r", rng="no"),
        lambda: holdfast.load(store_path, "r@1", rng=0),
        lambda: holdfast.load(store_path, "r@1", strict="no"),
    ):
        with pytest.raises(UsageError, match="is neither True nor False"):
            call()
        if not store_path.exists():
            holdfast.save(store_path, tree, run="r", step=1, rng=np.bool_(False))
