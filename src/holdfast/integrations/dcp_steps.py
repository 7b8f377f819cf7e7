"""From the ids of PyTorch's distributed checkpoints to the steps of a run."""

from __future__ import annotations

import os
import re

from holdfast.errors import UsageError


def step_of(checkpoint_id: str | os.PathLike[str] | int) -> int:
    """Return the step that an id names: the number at the end of the last component of a path.

    Raises:
        UsageError: There is none.

    >>> step_of("outputs/checkpoint/step-500")
    500
    """
    text = os.fspath(checkpoint_id) if not isinstance(checkpoint_id, int) else str(checkpoint_id)
    found = re.search(r"(\d+)$", text.rstrip("/\\").replace("\\", "/").rpartition("/")[2])
    if found is None:
        raise UsageError(
            f"checkpoint_id={text!r} does not end in a number; in a holdfast store it names the "
            "step, as in 'step-500'."
        )
    return int(found.group(1))


def names_step(checkpoint_id: str | os.PathLike[str]) -> bool:
    """Say whether an id ends in a number."""
    try:
        step_of(checkpoint_id)
    except UsageError:
        return False
    return True
