"""A state that is changed while it is copied is not saved as if it were one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from absent import required
from holdfast import Checkpointer, every
from holdfast.engine.snapshot import Copier
from holdfast.errors import SnapshotTorn

torch = required("torch")


@contextmanager
def in_the_midst(change: Callable[[], object]) -> Iterator[None]:
    """Change something each time a snapshot has been copied but not been handed on."""
    as_ever = Copier.copy

    def copy(self: Copier, *args: Any, **more: Any) -> None:
        as_ever(self, *args, **more)
        change()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Copier, "copy", copy)
        yield


def tensor_state() -> tuple[dict[str, Any], Callable[[], object]]:
    weights = torch.zeros(8_000_000)
    return {"model": {"w": weights, "b": torch.zeros(3)}}, lambda: weights.add_(1)


def one_element_of_a_tensor() -> tuple[dict[str, Any], Callable[[], object]]:
    weights = torch.zeros(8_000_000)
    return {"model": {"w": weights}}, lambda: weights[123_456].add_(1)


def array_state() -> tuple[dict[str, Any], Callable[[], object]]:
    weights = np.zeros(8_000_000, np.float32)
    return {"model": {"w": weights}}, lambda: np.add(weights, 1, out=weights)


def past_the_counter() -> tuple[dict[str, Any], Callable[[], object]]:
    weights = torch.zeros(8_000_000)
    return {"model": {"w": weights}}, lambda: weights.data.add_(1)


STATES = [tensor_state, one_element_of_a_tensor, array_state, past_the_counter]


@pytest.mark.parametrize("make", STATES)
def test_it_is_noticed(tmp_path: Path, make: Callable[[], Any]) -> None:
    state, change = make()
    with Checkpointer(tmp_path, state, run="r", rng=False) as ckpt:
        ckpt.save(0).wait()
        with in_the_midst(change), pytest.raises(SnapshotTorn, match="'model/w'") as caught:
            ckpt.save(1)
        assert caught.value.leaves == ("model/w",) and caught.value.step == 1
        state["model"]["w"][...] = 7
        ckpt.save(2).wait()
    assert [info.step for info in holdfast.Store(tmp_path).log("r")] == [0, 2]
    assert (np.asarray(holdfast.load(tmp_path, "r@2")["model"]["w"]) == 7).all()
    assert holdfast.Store(tmp_path).verify().ok


def test_another_thread_that_trains_is_noticed(tmp_path: Path) -> None:
    weights = torch.zeros(1000)
    over = threading.Event()

    def train() -> None:
        while not over.is_set():
            weights.add_(1)

    thread = threading.Thread(target=train)
    with Checkpointer(tmp_path, {"w": weights}, run="r", rng=False) as ckpt:
        thread.start()
        try:
            with pytest.raises(SnapshotTorn):
                for step in range(1000):
                    ckpt.save(step)
        finally:
            over.set()
            thread.join()


def test_training_may_go_on_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state, change = tensor_state()
    options: dict[str, Any] = {"save": every(steps=1), "on_error": "warn", "rng": False}
    with (
        caplog.at_level(logging.ERROR, "holdfast"),
        Checkpointer(tmp_path, state, run="r", **options) as ckpt,
    ):
        ckpt.step(1)
        with in_the_midst(change):
            assert ckpt.step(2) is None
        ckpt.step(3)
    assert "The save of step 2 failed: Step 2 was not saved" in caplog.text
    assert [info.step for info in holdfast.Store(tmp_path).log("r")] == [1, 3]


def test_tensors_that_nobody_counts_can_be_saved(tmp_path: Path) -> None:
    with torch.inference_mode():
        made = torch.ones(100_000)
    with Checkpointer(tmp_path, {"w": made}, run="r", rng=False) as ckpt:
        ckpt.save(0).wait()
    assert (holdfast.load(tmp_path, "r@0")["w"] == 1).all()
