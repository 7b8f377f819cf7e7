"""A manager with the names that users of Orbax know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from absent import required

jax = required("jax")

from holdfast.errors import Mismatch, NotFound, UsageError  # noqa: E402
from holdfast.jax import CheckpointManager  # noqa: E402

jnp = jax.numpy


def tree(i: float) -> dict[str, Any]:
    return {"params": {"w": jnp.full((2, 3), float(i))}, "step": jnp.asarray(int(i)), "note": "x"}


def test_it_saves_and_restores_by_step(tmp_path: Path) -> None:
    with CheckpointManager(tmp_path, max_to_keep=2, save_interval_steps=5) as manager:
        assert manager.latest_step() is None and manager.all_steps() == []
        with pytest.raises(NotFound):
            manager.restore()
        saved = [i for i in range(21) if manager.save(i, tree(i))]
        assert saved == [0, 5, 10, 15, 20]
        assert manager.save(21, tree(21), force=True)
        assert manager.latest_step() == 21
        assert manager.should_save(25) and not manager.should_save(20)
        assert not manager.should_save(26)
        assert float(manager.restore()["params"]["w"][0, 0]) == 21
    with CheckpointManager(tmp_path, max_to_keep=2) as manager:  # another life
        assert manager.all_steps() == [20, 21]
        like = jax.eval_shape(lambda: tree(0)["params"])
        given = {"params": like, "step": jnp.asarray(0), "note": ""}
        found = manager.restore(20, given)
        assert float(found["params"]["w"].sum()) == 120 and int(found["step"]) == 20
        # What was given is a pattern, and stays one.
        assert isinstance(given["params"]["w"], jax.ShapeDtypeStruct) and given["note"] == ""
        assert manager.save(22, tree(22))
    assert CheckpointManager(tmp_path).all_steps() == [21, 22]


def test_nothing_is_no_checkpoint(tmp_path: Path) -> None:
    with CheckpointManager(tmp_path) as manager:
        with pytest.raises(UsageError, match="nothing to save at step 3"):
            manager.save(3)
        with pytest.raises(UsageError, match="A step is an int"):
            manager.save("3", tree(3))  # type: ignore[arg-type]
        assert manager.all_steps() == []


def test_the_best_stays(tmp_path: Path) -> None:
    losses = [3.0, 1.0, 2.0, 4.0]
    with CheckpointManager(tmp_path, max_to_keep=1, best_metric="loss") as manager:
        for i, loss in enumerate(losses):
            manager.save(i, tree(i), metrics={"loss": loss})
    with CheckpointManager(tmp_path, best_metric="loss") as manager:
        assert manager.all_steps() == [1, 3] and manager.best_step() == 1
        assert manager.metrics(1) == {"loss": 1.0}
        assert int(manager.restore(manager.best_step())["step"]) == 1


def test_what_is_no_number_is_not_the_best(tmp_path: Path) -> None:
    with CheckpointManager(tmp_path, best_metric="acc", best_mode="max") as manager:
        assert manager.best_step() is None
        for i, accuracy in enumerate([float("nan"), 0.5, 0.7, 0.6]):
            manager.save(i, tree(i), metrics={"acc": accuracy})
        assert manager.best_step() == 2
        assert manager.metrics(3) == {"acc": 0.6}


def test_what_orbax_calls_args(tmp_path: Path) -> None:
    ocp = required("orbax.checkpoint")
    with CheckpointManager(tmp_path) as manager:
        manager.save(0, args=ocp.args.StandardSave(tree(7)))
        manager.wait_until_finished()
        found = manager.restore(0, args=ocp.args.StandardRestore(tree(0)))
        assert int(found["step"]) == 7
        with pytest.raises(UsageError, match="not both"):
            manager.save(1, tree(1), args=ocp.args.StandardSave(tree(7)))


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    with CheckpointManager(tmp_path) as manager:
        manager.save(0, tree(1))
        wrong = tree(0)
        wrong["params"]["w"] = jnp.zeros((3, 3))
        with pytest.raises(Mismatch, match=r"saved as float32\[2, 3\], wanted float32\[3, 3\]"):
            manager.restore(0, wrong)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"save_interval_steps": 0}, "save_interval_steps=0"),
        ({"best_metric": "loss", "best_mode": "lowest"}, "'min' .* or 'max', not 'lowest'"),
        ({"max_to_keep": 0}, "keep"),
        ({"run": ""}, "run"),
        ({"max_too_keep": 3}, "CheckpointManager takes no max_too_keep="),
    ],
)
def test_wrong_use_is_told_before_there_is_something_to_save(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        CheckpointManager(tmp_path, **options)
