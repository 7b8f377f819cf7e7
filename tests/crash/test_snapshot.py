"""Death in the midst of a snapshot, while its first chunks are being written already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from crash_running import Script, assert_verified, debris, wait_gone

import holdfast
from holdfast import Checkpointer

Start = Callable[[str], Script]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Script] = []

    def start(fate: str) -> Script:
        started.append(Script("half_a_snapshot.py", tmp_path / "s", fate, folder=tmp_path))
        return started[-1]

    yield start
    for script in started:
        script.end()


@pytest.mark.parametrize("fate", ["trainer", "both"])
def test_half_a_snapshot_never_becomes_a_checkpoint(
    start: Start, fate: str, tmp_path: Path
) -> None:
    script = start(fate)
    assert script.wait() == -9, script.told()
    assert script.lines("half"), script.told()
    persister = script.numbers("persister")[0]
    wait_gone(persister)
    store = tmp_path / "s"
    state = {f"w{i}": np.zeros(9 << 20, np.uint8) for i in range(12)} | {"turned": np.zeros((4, 3))}
    with Checkpointer(store, state, run="r", rng=False) as ckpt:
        restored = ckpt.restore()
        assert restored is not None and restored.step == 1
        assert all((value == 1).all() for value in state.values())
        ckpt.save(2).wait()
    assert [info.step for info in holdfast.Store(store).log("r")] == [1, 2]
    assert_verified(store)
    assert debris(store, "r") == set()


@pytest.mark.parametrize("fate", ["persister", "interrupt"])
def test_training_goes_on_after_half_a_snapshot(start: Start, fate: str, tmp_path: Path) -> None:
    script = start(fate)
    assert script.wait() == 0, script.told()
    assert script.lines("half") and script.numbers("saved") == [3], script.told()
    store = tmp_path / "s"
    steps = [1, 2, 3] if fate == "persister" else [1, 3]
    assert [info.step for info in holdfast.Store(store).log("r")] == steps
    for step in steps:
        found = holdfast.load(store, f"r@{step}", verify="full")
        assert all((value == step).all() for value in found.values())
    assert_verified(store)
    assert debris(store, "r") == set()


def test_a_persister_that_outlives_its_trainer_gives_the_run_back(
    start: Start, tmp_path: Path
) -> None:
    script = start("trainer")
    script.wait()
    # The persister must not wait for the rest of a snapshot that nobody takes any more.
    wait_gone(script.numbers("persister")[0])
    events = (tmp_path / "s" / "runs" / "r" / "events.jsonl").read_text()
    assert "trainer-died" in events and "died while it took the snapshot" in events
