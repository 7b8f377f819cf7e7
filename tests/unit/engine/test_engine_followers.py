from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer, every
from holdfast.errors import UsageError
from holdfast.history.info import CheckpointInfo


def train(store: Path, steps: int, **options: Any) -> None:
    state = {"w": np.zeros(3)}
    with Checkpointer(store, state, run="r", save=every(steps=1), rng=False, **options) as ckpt:
        for step in range(steps):
            state["w"] += 1
            ckpt.step(step, metrics={"loss": 1 / (step + 1)})


def test_followers_are_told_of_each_checkpoint_once_it_is_durable(tmp_path: Path) -> None:
    told: list[tuple[int, float, float]] = []
    others: list[str] = []

    def follow(info: CheckpointInfo, store: holdfast.Store) -> None:
        assert threading.current_thread() is not threading.main_thread()
        loaded = holdfast.load(store, info.ref)
        told.append((info.step, info.metrics["loss"], loaded["w"][0]))

    # The end of the block waits for them.
    train(tmp_path, 3, on_saved=[follow, lambda info, store: others.append(info.ref)])
    assert told == [(0, 1.0, 1.0), (1, 0.5, 2.0), (2, 1 / 3, 3.0)]
    assert others == ["r@0", "r@1", "r@2"]


def test_what_a_follower_fails_with_is_told_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[int] = []

    def fail(info: CheckpointInfo, store: object) -> None:
        raise ConnectionError("the tracker is away")

    with caplog.at_level(logging.WARNING, logger="holdfast"):
        train(tmp_path, 2, on_saved=[fail, lambda info, store: told.append(info.step)])
    assert told == [0, 1]
    messages = [record.getMessage() for record in caplog.records]
    assert [("r@0" in m, "the tracker is away" in m) for m in messages] == [
        (True, True),
        (False, True),
    ]
    assert [info.step for info in holdfast.Store(tmp_path).log("r")] == [0, 1]


def test_training_does_not_wait_for_a_follower(tmp_path: Path) -> None:
    may_go_on, told = threading.Event(), list[int]()

    def slow(info: CheckpointInfo, store: object) -> None:
        assert may_go_on.wait(60)
        told.append(info.step)

    state = {"w": np.zeros(3)}
    with Checkpointer(tmp_path, state, run="r", rng=False, on_saved=slow) as ckpt:
        for step in range(3):
            ckpt.save(step).wait()
        assert told == []
        may_go_on.set()
    assert told == [0, 1, 2]


def test_a_save_that_failed_is_told_to_nobody(tmp_path: Path) -> None:
    told: list[int] = []
    state: dict[str, Any] = {"w": np.zeros(3)}
    with Checkpointer(
        tmp_path, state, run="r", on_saved=lambda info, store: told.append(info.step)
    ) as ckpt:
        ckpt.save(0).wait()
        state["bad"] = object()
        with pytest.raises(holdfast.errors.UnsupportedLeaf):
            ckpt.save(1)
    assert told == [0]


@pytest.mark.parametrize("given", ["print", ["print"], 3, None])
def test_what_cannot_be_called_is_refused_at_once(tmp_path: Path, given: Any) -> None:
    with pytest.raises(UsageError, match="on_saved"):
        Checkpointer(tmp_path, {"w": 1}, run="r", on_saved=given)


@pytest.mark.parametrize("name", ["ranks", "peers"])
def test_what_is_no_group_of_processes_is_refused(tmp_path: Path, name: str) -> None:
    wrong: dict[str, Any] = {name: "all"}
    with pytest.raises(UsageError, match=f"{name}= takes"):
        Checkpointer(tmp_path, {"w": 1}, run="r", **wrong)
    assert not (tmp_path / "runs").exists()
