"""A manager of checkpoints in the shape of torchtitan's, on a holdfast store."""

from __future__ import annotations

from holdfast.integrations.needs import require

require("torch", extra="torch", what="holdfast.torchtitan")

from holdfast.integrations.titan_manager import CheckpointManager  # noqa: E402
from holdfast.integrations.titan_states import Generators  # noqa: E402

__all__ = ["CheckpointManager", "Generators"]
