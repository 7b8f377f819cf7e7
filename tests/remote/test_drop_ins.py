"""Managers of frameworks take the URL of a bucket where they take a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import s3_server
from absent import required


@pytest.fixture
def url(
    bucket: str, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> str:
    for name, value in s3_server.environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return f"s3://{bucket}/prefix"


def test_jax(url: str, tmp_path: Path) -> None:
    jnp = required("jax").numpy
    from holdfast.jax import CheckpointManager

    with CheckpointManager(url) as manager:
        assert manager.save(3, {"w": jnp.ones(2)})
    with CheckpointManager(url) as manager:
        assert np.array_equal(manager.restore(3)["w"], [1, 1])
    assert not list(tmp_path.iterdir())


def test_tensorflow(url: str, tmp_path: Path) -> None:
    tf = required("tensorflow")
    from holdfast.tensorflow import CheckpointManager

    weights = tf.Variable([1.0, 2.0])
    with CheckpointManager(tf.train.Checkpoint(w=weights), url) as manager:
        assert manager.save() == "ckpt@1"
    weights.assign([0.0, 0.0])
    with CheckpointManager(tf.train.Checkpoint(w=weights), url) as manager:
        assert manager.restore_or_initialize() == "ckpt@1"
        assert manager.directory == url
    assert weights.numpy().tolist() == [1, 2]
    assert not list(tmp_path.iterdir())
