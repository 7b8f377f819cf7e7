"""A checkpoint with all that it has: the tree, and the random number generators besides."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import holdfast


def everything(store: Path, ref: str) -> dict[str, object]:
    """Return the state of a checkpoint, and under "rng" every generator as it left it.

    Generators are no part of a loaded tree; they are set, read, and put back as they were.
    """
    with _generators_kept():
        tree = holdfast.load(store, ref, rng=True)
        return {"state": tree, "rng": _read()}


def _read() -> dict[str, object]:
    import torch

    version, words, gauss = random.getstate()
    return {
        # One leaf, not 625.
        "python": {"version": version, "words": np.array(words, dtype=np.uint32), "gauss": gauss},
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
    }


@contextmanager
def _generators_kept() -> Iterator[None]:
    import torch

    python, array, tensor = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        torch.set_rng_state(tensor)
