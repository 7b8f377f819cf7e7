"""MLflow: checkpoints of a holdfast store as logged models, with their metrics."""

from __future__ import annotations

from holdfast.integrations.needs import require

require("mlflow", extra="mlflow", what="holdfast.mlflow")

from holdfast.integrations.mlflow_models import ModelLogger  # noqa: E402

__all__ = ["ModelLogger"]
