"""Checkpoints for TensorFlow: a ``CheckpointManager`` with the names that its users know.

Variables, tensors, ``tf.Module``, ``tf.train.Checkpoint`` and iterators of ``tf.data`` go into the
state of a ``Checkpointer`` as they are, too.
"""

from __future__ import annotations

from holdfast.integrations.needs import require

require("tensorflow", extra="tensorflow", what="holdfast.tensorflow")

from holdfast.integrations.tensorflow_manager import CheckpointManager  # noqa: E402

__all__ = ["CheckpointManager"]
