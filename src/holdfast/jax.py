"""Checkpoints for JAX: a ``CheckpointManager`` with the names that users of Orbax know.

Arrays, keys, train states, NNX and Equinox modules go into the state of a ``Checkpointer`` as they
are, too.
"""

from __future__ import annotations

from holdfast.integrations.needs import require

require("jax", extra="jax", what="holdfast.jax")

from holdfast.integrations.jax_manager import CheckpointManager  # noqa: E402

__all__ = ["CheckpointManager"]
