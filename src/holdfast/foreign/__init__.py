"""Other people's checkpoints, read as arrays and plain values; nothing in them is ever run.

``read`` takes PyTorch's ``.pth`` and ``.pt`` (zip, legacy and tar), folders of its distributed
checkpoints, joblib's files, NumPy's ``.npy`` and ``.npz``, and plain pickles.
"""

from __future__ import annotations

import os

from holdfast.errors import UsageError
from holdfast.foreign.arrays import ForeignArray
from holdfast.foreign.build import Replaced, Unknown
from holdfast.foreign.confined import read_confined
from holdfast.foreign.formats import read_here
from holdfast.foreign.layout import Box, View
from holdfast.foreign.limits import Limits
from holdfast.foreign.tree import ForeignTree

__all__ = ["Box", "ForeignArray", "ForeignTree", "Limits", "Replaced", "Unknown", "View", "read"]

_DEFAULTS = Limits()


def read(
    path: str | os.PathLike[str],
    *,
    unknown: Unknown = "refuse",
    limits: Limits = _DEFAULTS,
    confined: bool = True,
) -> ForeignTree:
    """Return a foreign checkpoint as a tree of arrays and plain values.

    Arrays are handles; their bytes stay in the file until they are asked for, so that it must stay
    where it is.

    Args:
        path: The file; for a distributed checkpoint its folder, or the ``.metadata`` in it.
        unknown: What to do with objects of classes that are neither Python's own nor NumPy's or
            PyTorch's: ``"refuse"`` the file, or ``"keep"`` the plain values that they hold. What
            ``holdfast scan`` calls dangerous is refused either way.
        limits: How much it may ask for.
        confined: Whether to follow it in a process of its own with bounds on memory, time and
            files, which takes some tenths of a second. The reader is the same.

    Raises:
        ForeignRefused: It would do more than build arrays and plain values, or asks for too much.
        ForeignDamaged: It is of no format that is known, or not whole.
        NotFound: There is no such file.
        StoreUnavailable: It cannot be read.
    """
    if unknown not in ("refuse", "keep"):
        raise UsageError(f"unknown= is 'refuse' or 'keep', not {unknown!r}.")
    location = os.path.abspath(os.fspath(path))
    return (read_confined if confined else read_here)(location, unknown, limits)
