"""A manager with the names that users of tf.train.CheckpointManager know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from absent import required

tf = required("tensorflow")

import holdfast  # noqa: E402
from holdfast.errors import UsageError  # noqa: E402
from holdfast.tensorflow import CheckpointManager  # noqa: E402


def tracked(value: float) -> tuple[Any, Any]:
    weights = tf.Variable(value)
    return tf.train.Checkpoint(weights=weights), weights


def test_the_manager_does_what_its_users_know(tmp_path: Path) -> None:
    checkpoint, weights = tracked(1.0)
    began = []
    with CheckpointManager(
        checkpoint, tmp_path, max_to_keep=2, init_fn=lambda: began.append(1)
    ) as manager:
        assert manager.restore_or_initialize() is None and began == [1]
        assert manager.latest_checkpoint is None and manager.checkpoints == []
        for i in range(4):
            weights.assign_add(1.0)
            assert manager.save() == f"ckpt@{i + 1}"
            # What the persister has still to remove does not count.
            assert manager.checkpoints == [f"ckpt@{n}" for n in range(max(i, 1), i + 2)]
        assert manager.latest_checkpoint == "ckpt@4"
        assert manager.directory == str(tmp_path) and manager.checkpoint is checkpoint
    other, its_weights = tracked(9.0)
    with CheckpointManager(
        other, tmp_path, max_to_keep=2, init_fn=lambda: began.append(2)
    ) as manager:
        assert manager.checkpoints == ["ckpt@3", "ckpt@4"]
        assert manager.restore_or_initialize() == "ckpt@4" and began == [1]
        assert float(its_weights) == float(weights) and int(other.save_counter) == 4
        assert manager.save() == "ckpt@5"
        assert manager.restore("ckpt@4") is not None and int(other.save_counter) == 4


def test_an_interval_of_steps(tmp_path: Path) -> None:
    step = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(step=step)
    saved = []
    with CheckpointManager(
        checkpoint, tmp_path, None, step_counter=step, checkpoint_interval=3
    ) as manager:
        for _ in range(8):
            step.assign_add(1)
            saved.append(manager.save(checkpoint_number=step))
        assert [ref for ref in saved if ref] == ["ckpt@1", "ckpt@4", "ckpt@7"]
        assert manager.save(checkpoint_number=step, check_interval=False) == "ckpt@8"
    with CheckpointManager(
        checkpoint, tmp_path, None, step_counter=step, checkpoint_interval=3
    ) as manager:
        assert manager.restore_or_initialize() == "ckpt@8"
        step.assign_add(1)
        assert manager.save(checkpoint_number=step) is None


def test_wrong_use_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"tf\.train\.Checkpoint"):
        CheckpointManager(tf.Module(), tmp_path)
    checkpoint = tf.train.Checkpoint()
    with pytest.raises(UsageError, match="step_counter"):
        CheckpointManager(checkpoint, tmp_path, checkpoint_interval=3)
    with pytest.raises(UsageError, match="max_to_keep=0"):
        CheckpointManager(checkpoint, tmp_path, max_to_keep=0)
    with pytest.raises(UsageError, match="state= has 'checkpoint'"):
        CheckpointManager(checkpoint, tmp_path, state={"checkpoint": 3})
    with pytest.raises(UsageError, match="CheckpointManager takes no max_too_keep="):
        CheckpointManager(checkpoint, tmp_path, max_too_keep=3)
    assert not list(tmp_path.iterdir())


def test_the_folder_of_a_store(tmp_path: Path) -> None:
    with CheckpointManager(tf.train.Checkpoint(), holdfast.Store(tmp_path)) as manager:
        assert manager.directory == str(tmp_path)
