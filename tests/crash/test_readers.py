"""Reading a store while a trainer writes and retention deletes: an evaluator beside training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_running import Script, budget_s
from training_state import TrainingState

import holdfast
from holdfast import keep

RUN = "run"
SECONDS = 2.0


@pytest.fixture(params=[1, 2], ids=["keep.last(1)", "keep.last(2)"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A store that a training script writes at full speed, deleting what is not the newest."""
    kept = ("--keep", request.param)
    script = Script("killed_trainer.py", tmp_path / "store", "tiny", *kept, folder=tmp_path)
    try:
        script.until(lambda: len(script.lines("durable")) > 3, "some saves")
        yield tmp_path / "store"
        assert script.is_running, script.told()
    finally:
        script.end()


def test_latest_can_always_be_loaded(store: Path) -> None:
    """Not the one that was newest a moment ago and is being deleted, and never an older one."""
    state = TrainingState("tiny")
    deadline = time.monotonic() + budget_s(SECONDS)
    newest, count = -1, 0
    while time.monotonic() < deadline:
        restored = holdfast.load(store, f"{RUN}@latest", into=state.tree, rng=True)
        assert state.wrong(restored.step) == []
        assert restored.stepped_over == ()
        assert restored.step >= newest
        newest, count = restored.step, count + 1
    assert count > 10


def test_verification_tells_no_damage_where_there_is_none(store: Path) -> None:
    deadline = time.monotonic() + budget_s(SECONDS)
    while time.monotonic() < deadline:
        report = holdfast.Store(store).verify()
        assert report.ok, [c for c in report.checkpoints if not c.ok] or report.problems
        assert report.checkpoints


def test_looking_around(store: Path) -> None:
    opened = holdfast.Store(store)
    deadline = time.monotonic() + budget_s(SECONDS)
    while time.monotonic() < deadline:
        log = opened.log(RUN)
        # Two that are kept, one whose retention is under way, one that was saved meanwhile.
        assert 1 <= len(log) <= 4
        assert [info.seq for info in log] == sorted(info.seq for info in log)
        assert opened.info(f"{RUN}@latest").step >= log[-1].step
        assert opened.leaves(f"{RUN}@latest")
        report = opened.doctor()
        assert report.problems == ()


def test_another_process_tags_and_prunes(store: Path) -> None:
    """What it tags stays, whatever the trainer's retention does at that moment."""
    opened = holdfast.Store(store)
    deadline = time.monotonic() + budget_s(SECONDS)
    tagged = {}
    while time.monotonic() < deadline:
        name = f"tag{len(tagged)}"
        opened.tag(f"{RUN}@latest", name)
        tagged[name] = holdfast.load(store, f"{RUN}@{name}")["scalars"]["step"]
        opened.prune(RUN, keep.last(1))
    for name, step in tagged.items():
        state = TrainingState("tiny")
        assert holdfast.load(store, f"{RUN}@{name}", into=state.tree, rng=True).step == step
        assert state.wrong(step) == []
