from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tracked_runs import LOSSES, train

from absent import required

mlflow = required("mlflow")

import holdfast  # noqa: E402
from holdfast.errors import UsageError  # noqa: E402
from holdfast.mlflow import ModelLogger  # noqa: E402


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a server that is a folder, while a run is active."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "tracking").as_uri())
    with mlflow.start_run():
        yield mlflow.MlflowClient()


def models(client: Any) -> list[Any]:
    run = mlflow.active_run()
    found = client.search_logged_models([run.info.experiment_id])
    return sorted(found, key=lambda model: int(model.tags["holdfast.step"]))


def test_each_checkpoint_becomes_a_model_with_its_metrics(client: Any, tmp_path: Path) -> None:
    train(tmp_path / "ckpts", [ModelLogger(root="model")])
    run_id = mlflow.active_run().info.run_id
    history = client.get_metric_history(run_id, "loss")
    assert [(m.step, m.value) for m in history] == list(enumerate(LOSSES))
    found = models(client)
    assert len(found) == 3
    for step, model in enumerate(found):
        assert model.status.value == "READY" and model.source_run_id == run_id
        assert model.tags["holdfast.ref"] == f"net@{step}"
        assert [(m.key, m.value, m.step) for m in model.metrics] == [("loss", LOSSES[step], step)]
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}"))
        weights = load_file(folder / f"net-{step}.safetensors")
        np.testing.assert_array_equal(weights["w"], np.full((2, 3), step + 1, "f4"))
        pointer = json.loads((folder / "holdfast-checkpoint.json").read_text())
        assert pointer["id"] == holdfast.Store(tmp_path / "ckpts").info(f"net@{step}").id
    outputs = client.get_run(run_id).outputs.model_outputs
    assert [(o.model_id, o.step) for o in outputs] == [(m.model_id, m.step) for m in outputs]
    assert {o.model_id for o in outputs} == {m.model_id for m in found}


def test_a_folder_keeps_its_name(client: Any, tmp_path: Path) -> None:
    train(tmp_path / "ckpts", [ModelLogger(format="dcp", when="best", best="loss")])
    assert [m.tags["holdfast.step"] for m in models(client)] == ["0", "1"]
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{models(client)[1].model_id}"))
    assert (folder / "net-1" / ".metadata").exists()


def test_a_reference_is_the_small_file_alone(client: Any, tmp_path: Path) -> None:
    train(tmp_path / "ckpts", [ModelLogger(format="reference", when="tagged")])
    (model,) = models(client)
    assert json.loads(model.tags["holdfast.tags"]) == ["final/1"]
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}"))
    assert [path.name for path in folder.iterdir()] == ["holdfast-checkpoint.json"]


def test_an_export_that_is_not_possible_is_told_and_logs_nothing(
    client: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="holdfast"):
        train(tmp_path / "ckpts", [ModelLogger(root="no/such")])
    assert "no/such" in caplog.text and "net@0 is durable" in caplog.text
    assert models(client) == []
    assert len(holdfast.Store(tmp_path / "ckpts").log("net")) == 3


def test_without_a_run_it_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "tracking").as_uri())
    with pytest.raises(UsageError, match="start_run"):
        ModelLogger()


def test_an_encrypted_store_is_opened_for_the_export(client: Any, tmp_path: Path) -> None:
    store = holdfast.Store(tmp_path / "ckpts", keys=holdfast.keys.passphrase("a b c d"))
    train(store, [ModelLogger(root="model", when="tagged")])
    (model,) = models(client)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}"))
    assert load_file(folder / "net-2.safetensors")["w"].tolist() == [[3.0] * 3] * 2
