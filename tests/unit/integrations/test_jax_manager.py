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


def test_a_script_of_orbax_runs_with_its_options(tmp_path: Path) -> None:
    ocp = required("orbax.checkpoint")
    options = ocp.CheckpointManagerOptions(max_to_keep=2, save_interval_steps=2, save_on_steps=[3])
    with CheckpointManager(tmp_path, options=options) as manager:
        saved = [s for s in range(8) if manager.save(s, args=ocp.args.StandardSave(tree(s)))]
        assert saved == [0, 2, 3, 4, 6]
        manager.wait_until_finished()
        assert manager.all_steps(read=True) == [4, 6] and manager.directory == tmp_path
        assert not manager.is_saving_in_progress()
        manager.check_for_errors()
        manager.reload()
        manager.delete(4)
        assert manager.all_steps() == [6] and manager.latest_step() == 6
    frozen = ocp.CheckpointManagerOptions(read_only=True)
    with CheckpointManager(tmp_path, options=frozen) as manager:
        assert not manager.save(8, args=ocp.args.StandardSave(tree(8)))
        assert float(manager.restore(6)["params"]["w"][0, 0]) == 6


def test_a_function_says_which_is_best(tmp_path: Path) -> None:
    ocp = required("orbax.checkpoint")
    options = ocp.CheckpointManagerOptions(max_to_keep=2, best_fn=lambda m: m["a"] + m["b"])
    with CheckpointManager(tmp_path, options=options) as manager:
        for step, (a, b) in enumerate([(1.0, 1.0), (5.0, 5.0), (9.0, 0.0), (0.0, 0.0)]):
            manager.save(step, args=ocp.args.StandardSave(tree(step)), metrics={"a": a, "b": b})
        assert manager.best_step() == 1 and manager.metrics(1) == {"a": 5.0, "b": 5.0}
        # Two of the best, and the newest, which always stays.
        assert manager.all_steps() == [1, 2, 3]


def test_several_items_of_orbax(tmp_path: Path) -> None:
    ocp = required("orbax.checkpoint")
    args = ocp.args
    both = args.Composite(state=args.StandardSave(tree(7)), extra=args.JsonSave({"epoch": 3}))
    with CheckpointManager(tmp_path, item_names=("state", "extra")) as manager:
        manager.save(0, args=both)
        like = args.StandardRestore(jax.eval_shape(lambda: tree(0) | {"note": 0}) | {"note": ""})
        found = manager.restore(0, args=args.Composite(state=like, extra=args.JsonRestore()))
        assert float(found.state["params"]["w"][0, 0]) == 7 and found.extra == {"epoch": 3}
        assert manager.restore(0)["extra"] == {"epoch": 3}


def test_options_that_a_store_cannot_follow_are_refused(tmp_path: Path) -> None:
    ocp = required("orbax.checkpoint")
    policy = ocp.checkpoint_managers.LatestN(2)
    with pytest.raises(UsageError, match="preservation_policy is Orbax's own"):
        CheckpointManager(
            tmp_path, options=ocp.CheckpointManagerOptions(preservation_policy=policy)
        )
    with pytest.raises(UsageError, match="not both"):
        CheckpointManager(tmp_path, max_to_keep=1, options=ocp.CheckpointManagerOptions())
