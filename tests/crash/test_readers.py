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
def kept(request: pytest.FixtureRequest) -> int:
    """How many checkpoints retention keeps."""
    return int(request.param)


@pytest.fixture
def store(tmp_path: Path, kept: int) -> Iterator[Path]:
    """A store that a training script writes at full speed, deleting what is not the newest."""
    keep_last = ("--keep", kept)
    script = Script("killed_trainer.py", tmp_path / "store", "tiny", *keep_last, folder=tmp_path)
    try:
        script.until(lambda: len(script.lines("durable")) > 3, "some saves")
        yield tmp_path / "store"
        assert script.is_running, script.told()
    finally:
        script.end()


def test_latest_can_always_be_loaded(store: Path) -> None:
    """Not the one that was newest a moment ago and is being deleted, and never an older one."""
    state = TrainingState("tiny")
    # What is imported for the first one takes longer than many.
    newest = holdfast.load(store, f"{RUN}@latest", into=state.tree, rng=True).step
    deadline, count = time.monotonic() + budget_s(SECONDS), 0
    while time.monotonic() < deadline:
        restored = holdfast.load(store, f"{RUN}@latest", into=state.tree, rng=True)
        assert state.wrong(restored.step) == []
        assert restored.stepped_over == ()
        assert restored.step >= newest
        newest, count = restored.step, count + 1
    assert count > 10


def test_verification_tells_no_damage_where_there_is_none(store: Path) -> None:
    deadline, count = time.monotonic() + budget_s(SECONDS), 0
    while time.monotonic() < deadline:
        report = holdfast.Store(store).verify()
        assert report.ok, [c for c in report.checkpoints if not c.ok] or report.problems
        assert report.checkpoints
        count += 1
    assert count > 3


def test_looking_around(store: Path, kept: int) -> None:
    opened = holdfast.Store(store)
    deadline, count = time.monotonic() + budget_s(SECONDS), 0
    while time.monotonic() < deadline:
        log = opened.log(RUN)
        # A save begins when the retention after the save before it has begun, so that the one
        # before that has left what is kept and at most one more, which came while it looked. The
        # save's own checkpoint comes to that before anything goes again.
        assert 1 <= len(log) <= kept + 2
        assert [info.seq for info in log] == sorted(info.seq for info in log)
        assert opened.info(f"{RUN}@latest").step >= log[-1].step
        assert opened.leaves(f"{RUN}@latest")
        report = opened.doctor()
        assert report.problems == ()
        count += 1
    assert count > 3


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
    assert len(tagged) > 3
    for name, step in tagged.items():
        state = TrainingState("tiny")
        assert holdfast.load(store, f"{RUN}@{name}", into=state.tree, rng=True).step == step
        assert state.wrong(step) == []
