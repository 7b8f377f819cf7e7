"""Ray Train: workers that save together into a holdfast store, report, and go on after failures."""

from __future__ import annotations

from holdfast.integrations.needs import require

require("ray", extra="ray", what="holdfast.ray")

from holdfast.integrations.ray_manager import CheckpointManager, ref_of  # noqa: E402

__all__ = ["CheckpointManager", "ref_of"]
