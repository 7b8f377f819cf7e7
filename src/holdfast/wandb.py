"""Weights & Biases: checkpoints of a holdfast store as artifacts, with what they are."""

from __future__ import annotations

from holdfast.integrations.needs import require

require("wandb", extra="wandb", what="holdfast.wandb")

from holdfast.integrations.wandb_artifacts import ArtifactLogger  # noqa: E402

__all__ = ["ArtifactLogger"]
