"""Which files that a script has left behind are checkpoints, by their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from holdfast.drill.work_folder import RunFolder, Seen
from holdfast.format.names import MARKER_KEY

TORCH = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".joblib", ".npz", ".npy", ".tar")
SAFETENSORS = (".safetensors",)
HDF5 = (".h5", ".hdf5", ".keras")
# Their bytes alone are compared.
_OPAQUE = (".msgpack", ".index", ".orbax", ".pdparams")
_SUFFIXES = (*TORCH, *SAFETENSORS, *HDF5, *_OPAQUE)
_TENSORFLOW = re.compile(r"\.data-\d{5}-of-\d{5}$")


@dataclass(frozen=True, slots=True)
class Found:
    """What checkpoints a folder has: paths of stores, and files with the time of their change."""

    stores: tuple[str, ...]
    files: Mapping[str, Seen]

    def __bool__(self) -> bool:
        return bool(self.stores or self.files)


def is_checkpoint(name: str) -> bool:
    """Say whether a file has the name of a checkpoint."""
    return name.lower().endswith(_SUFFIXES) or _TENSORFLOW.search(name) is not None


def turn_of(name: str) -> str:
    """Return what a checkpoint's file is called without what counts it up.

    >>> turn_of("work/step-200.pt") == turn_of("work/step-400.pt")
    True
    """
    return re.sub(r"\d+", "#", name)


def find(folder: RunFolder) -> Found:
    """Return the checkpoints that a run of the script has made."""
    files = dict(folder.files())
    stores = [os.path.dirname(name) for name in files if os.path.basename(name) == MARKER_KEY]
    found = {
        name: seen
        for name, seen in files.items()
        if is_checkpoint(name) and not is_within(name, stores)
    }
    return Found(tuple(sorted(stores)), found)


def is_within(name: str, folders: Iterable[str]) -> bool:
    """Say whether a file is in one of some folders, however deep."""
    return any(name.startswith(folder + os.sep) for folder in folders)
