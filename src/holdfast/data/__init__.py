"""Resumable data order: what was delivered is known exactly, and training goes on from there.

``Sampler`` serves any framework and NumPy alone. ``DataLoader`` is for PyTorch; torch is only
imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.data.order import epoch_order
from holdfast.data.sampler import Sampler
from holdfast.errors import MissingDependency

if TYPE_CHECKING:
    from holdfast.data.torch_loader import DataLoader

__all__ = ["DataLoader", "Sampler", "epoch_order"]


def __getattr__(name: str) -> object:
    if name != "DataLoader":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from holdfast.data.torch_loader import DataLoader
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingDependency(
            "holdfast.data.DataLoader needs PyTorch: pip install 'holdfast[torch]'. "
            "holdfast.data.Sampler works without."
        ) from error
    return DataLoader
