"""The ids of checkpoints that ranks save together: the same on every rank, with no message."""

from __future__ import annotations

import hashlib


def together_id(incarnation: str, step: int, count: int) -> str:
    """Return the id of a step's checkpoint.

    Args:
        incarnation: What all ranks have agreed on at their start.
        step: The step.
        count: How often it has been saved since, this time included.
    """
    text = f"{incarnation} {step} {count}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
