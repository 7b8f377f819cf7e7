"""Checkpoints as logged models of MLflow."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, final

import mlflow
from mlflow.entities import LoggedModelOutput, LoggedModelStatus

from holdfast.errors import UsageError
from holdfast.integrations.tracked import POINTER, Tracked
from holdfast.integrations.tracker import Tracker


@final
class ModelLogger(Tracker):
    """Logs checkpoints as models of a run of MLflow, with their metrics at their steps.

    ::

        with mlflow.start_run():
            logger = ModelLogger(when=["best", "tagged"], best="val_loss", root="model")
            with Checkpointer(..., keep=keep.last(3), on_saved=logger) as ckpt:

    Each is a logged model with the exported file or folder as its artifact, and a small file that
    says what the checkpoint is; its tags, ``holdfast.ref`` and so on, say it, too. A model whose
    upload went wrong has the status ``FAILED``.

    Args:
        run_id: Of a run of MLflow; None: the one that is active in the thread that makes this.
        **how: As ``Tracker`` takes it: ``name``, ``format``, ``when``, ``best``, ``root``,
            ``only``, ``skip``, ``rename``, ``options``, ``scratch``.

    Raises:
        UsageError: No run is active, or an argument is not possible.
    """

    def __init__(self, run_id: str | None = None, **how: Any) -> None:
        super().__init__(**how)
        # Active is a run for one thread only, and uploads are made in another.
        active = mlflow.active_run()
        if run_id is None and active is None:
            raise UsageError(
                "No run of MLflow is active. Make ModelLogger within mlflow.start_run(), or give "
                "run_id=."
            )
        self._run_id = run_id or active.info.run_id
        self._client = mlflow.MlflowClient()

    def _log(self, tracked: Tracked, made: Path | None) -> None:
        info, client = tracked.info, self._client
        experiment_id = client.get_run(self._run_id).info.experiment_id
        model = client.create_logged_model(
            experiment_id,
            name=f"{self.model_name(tracked)}-{info.step}",
            source_run_id=self._run_id,
            tags=_tags(tracked),
            model_type="checkpoint",
        )
        try:
            self._upload(model.model_id, tracked, made)
            self._log_metrics(model.model_id, tracked)
        except BaseException:
            client.finalize_logged_model(model.model_id, LoggedModelStatus.FAILED)
            raise
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        client.log_outputs(self._run_id, [LoggedModelOutput(model.model_id, info.step)])

    def _upload(self, model_id: str, tracked: Tracked, made: Path | None) -> None:
        with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
            pointer = Path(folder) / POINTER
            pointer.write_text(tracked.pointer(), encoding="utf-8")
            self._client.log_model_artifact(model_id, str(pointer))
        if made is None:
            return
        if made.is_dir():
            self._client.log_model_artifacts(model_id, str(made), made.name)
        else:
            self._client.log_model_artifact(model_id, str(made))

    def _log_metrics(self, model_id: str, tracked: Tracked) -> None:
        now_ms = int(tracked.info.created.timestamp() * 1000)
        for name, value in tracked.info.metrics.items():
            self._client.log_metric(
                self._run_id, name, value, now_ms, tracked.info.step, model_id=model_id
            )


def _tags(tracked: Tracked) -> dict[str, str]:
    texts = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in tracked.facts().items()
        if name != "metrics"
    }
    return {f"holdfast.{name}": text for name, text in texts.items()}
