"""Curves of a run: of every logged step, and of checkpoints that nothing was logged for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer, every
from holdfast.errors import NotFound
from holdfast.format.names import RunKeys
from holdfast.history.run_picture import picture_of
from holdfast.policy.curve import Curve


def train(path: Path, until: int, *, back_to: int | None = None, scale: float = 1.0) -> None:
    state = {"w": np.zeros(10)}
    with Checkpointer(path, state, run="r", save=every(steps=5)) as ckpt:
        ckpt.restore() if back_to is None else ckpt.restore(back_to)
        for step in range(ckpt.next_step, until):
            metrics = {"loss": scale * step}
            if step % 4 == 0:
                metrics["val_loss"] = scale * step + 0.5
            ckpt.step(step, metrics)


def test_every_logged_step_is_on_the_curve_and_not_only_saved_ones(store_path: Path) -> None:
    train(store_path, 12)
    curves = holdfast.Store(store_path).curves("r")
    assert list(curves) == ["loss", "val_loss"]
    assert (list(curves["loss"].steps), list(curves["loss"].values)) == (
        list(range(12)),
        [float(step) for step in range(12)],
    )
    assert list(curves["val_loss"].steps) == [0, 4, 8]


def test_what_was_done_again_counts(store_path: Path) -> None:
    train(store_path, 14)
    train(store_path, 9, back_to=5, scale=100.0)
    curve = holdfast.Store(store_path).curves("r")["loss"]
    assert list(curve.steps) == list(range(9))
    assert list(curve.values) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 600.0, 700.0, 800.0]


def test_checkpoints_without_a_log_are_on_it_too(store_path: Path) -> None:
    for step in (1, 3):
        state, metrics = {"w": np.zeros(10)}, {"loss": step, "acc": 0.5}
        holdfast.save(store_path, state, run="r", step=step, metrics=metrics)
    store = holdfast.Store(store_path)
    assert list(store.curves("r")["loss"].steps) == [1, 3]
    train(store_path, 7)
    curves = store.curves("r")
    assert list(curves["loss"].steps) == [1, 3, 4, 5, 6]
    assert list(curves["acc"].values) == [0.5, 0.5]


def test_where_the_log_is_gone_there_are_the_checkpoints(store_path: Path) -> None:
    train(store_path, 12)
    for path in (store_path / RunKeys("r").metrics).iterdir():
        path.unlink()
    assert list(holdfast.Store(store_path).curves("r")["loss"].steps) == [5, 10]
    with pytest.raises(NotFound):
        holdfast.Store(store_path).curves("other")


def test_validation_that_climbs_far_is_told_as_over_fitting_only() -> None:
    steps = list(range(200))
    train = Curve(steps, [3 / (1 + step / 10) for step in steps])
    validation = Curve(steps, [1 + abs(step - 30) / 20 for step in steps])
    picture = picture_of("r", {"loss": train, "val_loss": validation}, [], [], lambda _: "min")
    assert [found.kind for found in picture.panels[0].findings] == ["overfitting"]
