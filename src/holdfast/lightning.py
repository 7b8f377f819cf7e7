"""Lightning on a holdfast store: its checkpoints, and what they lack to resume exactly."""

from __future__ import annotations

from holdfast.integrations.needs import require

for _package in ("torch", "lightning"):
    require(_package, extra="lightning", what="holdfast.lightning")

from holdfast.integrations.lightning_callback import HoldfastCallback  # noqa: E402
from holdfast.integrations.lightning_io import HoldfastCheckpointIO  # noqa: E402

__all__ = ["HoldfastCallback", "HoldfastCheckpointIO"]
