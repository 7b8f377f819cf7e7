"""A state that would be half restored: found before it is touched, or not trained with."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer, data, every, on
from holdfast.errors import Mismatch, RestoreIncomplete


class Picky:
    """Takes only even numbers."""

    def __init__(self, number: int) -> None:
        self.number = number

    def state_dict(self) -> dict[str, int]:
        return {"number": self.number}

    def load_state_dict(self, state: dict[str, int]) -> None:
        if state["number"] % 2:
            raise ValueError("odd")
        self.number = state["number"]


def test_a_data_position_that_does_not_fit_is_found_before_anything_changes(tmp_path: Path) -> None:
    saved = {"w": np.ones(1000), "order": data.Sampler(10, batch_size=2)}
    holdfast.save(tmp_path, saved, run="r", step=0)
    live = {"w": np.zeros(1000), "order": data.Sampler(12, batch_size=2)}
    with Checkpointer(tmp_path, live, run="r") as ckpt:
        with pytest.raises(Mismatch, match="dataset length"):
            ckpt.restore()
        assert not live["w"].any()
        ckpt.save(1).wait()  # The state is whole.


def test_after_half_a_restore_nothing_is_saved(tmp_path: Path) -> None:
    holdfast.save(tmp_path, {"w": np.ones(10), "picky": Picky(3)}, run="r", step=3)
    live = {"w": np.zeros(10), "picky": Picky(0)}
    with (
        pytest.raises(ValueError, match="mine"),
        Checkpointer(tmp_path, live, run="r", save=every(steps=1) | on.exception()) as ckpt,
    ):
        ckpt.step(4)
        ckpt.wait()
        with pytest.raises(RestoreIncomplete, match="odd"):
            ckpt.restore("r@3")
        for call in (lambda: ckpt.step(5), lambda: ckpt.save(5)):
            with pytest.raises(RestoreIncomplete, match="half restored"):
                call()
        raise ValueError("mine")
    assert [info.step for info in holdfast.Store(tmp_path).log("r")] == [3, 4]


def test_another_restore_makes_it_whole_again(tmp_path: Path) -> None:
    for step, number in ((1, 2), (2, 3)):
        tree = {"w": np.full(10, step), "picky": Picky(number)}
        holdfast.save(tmp_path, tree, run="r", step=step)
    live = {"w": np.zeros(10, int), "picky": Picky(0)}
    with Checkpointer(tmp_path, live, run="r") as ckpt:
        with pytest.raises(RestoreIncomplete):
            ckpt.restore()
        assert ckpt.restore("r@1") is not None
        assert (live["w"][0], live["picky"].number) == (1, 2)
        ckpt.save(3).wait()


@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08])
def test_ctrl_c_while_restoring_leaves_all_or_nothing(tmp_path: Path, delay_s: float) -> None:
    def tree(value: float) -> dict[str, Any]:
        return {f"w{i}": np.full(2 << 20, value, np.float32) for i in range(8)}

    holdfast.save(tmp_path, tree(1.0), run="r", step=0, rng=False)
    live = tree(0.0)
    timer = threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGINT))
    interrupted = False
    try:
        timer.start()
        holdfast.load(tmp_path, "r@0", into=live)
        timer.join()
    except KeyboardInterrupt:
        interrupted = True
    found = {float(v) for array in live.values() for v in (array[0], array[-1])}
    assert len(found) == 1, found
    assert interrupted or found == {1.0}
