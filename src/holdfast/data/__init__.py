"""Resumable data order: what was delivered is known exactly, and training goes on from there.

``Sampler`` serves any framework and NumPy alone. ``DataLoader`` and ``SeededDataset`` are for
PyTorch; torch is only imported when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from holdfast.data.order import epoch_order
from holdfast.data.sampler import Sampler
from holdfast.errors import MissingDependency

if TYPE_CHECKING:
    from holdfast.data.seeded_dataset import SeededDataset
    from holdfast.data.torch_loader import DataLoader

__all__ = ["DataLoader", "Sampler", "SeededDataset", "epoch_order"]

_OF_TORCH = {"DataLoader": "torch_loader", "SeededDataset": "seeded_dataset"}


def __getattr__(name: str) -> object:
    if name not in _OF_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"holdfast.data.{_OF_TORCH[name]}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingDependency(
            f"holdfast.data.{name} needs PyTorch: pip install 'holdfast[torch]'. "
            "holdfast.data.Sampler works without."
        ) from error
    return getattr(module, name)
