"""Checkpoints for Keras 3 on any backend.

``HoldfastCallback`` saves and resumes ``fit``; ``Batches`` is data that resumes in the middle of an
epoch. Models, optimizers and metrics go into the state of a ``Checkpointer`` as they are.
"""

from __future__ import annotations

from holdfast.integrations.needs import require

require("keras", extra="keras", what="holdfast.keras")

from holdfast.integrations.keras_callback import HoldfastCallback  # noqa: E402
from holdfast.integrations.keras_data import Batches  # noqa: E402

__all__ = ["Batches", "HoldfastCallback"]
