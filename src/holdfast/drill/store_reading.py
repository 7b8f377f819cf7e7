"""Checkpoints of holdfast stores that a script has left behind, leaf by leaf."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.drill.leaves import Leaf, Saved, leaf_of
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.history.info import CheckpointInfo
    from holdfast.repository import Store

OpenStore = Callable[[str], "Store"]


def in_store(
    path: Path, name: str, open_store: OpenStore, places: Mapping[str, str]
) -> Iterator[Saved]:
    """Yield of each run in a store its newest checkpoint and its tags.

    Args:
        path: Where it is.
        name: What it is called in every run of the script.
        open_store: Opens it.
        places: Texts that differ from run to run, and what they become.
    """
    try:
        store = open_store(str(path))
        for run in store.runs():
            log = store.log(run)
            if not log:
                continue
            newest = log[-1]
            yield _checkpoint(store, newest.ref, f"{name}: {run}@latest", places, newest=True)
            for info in log:
                for tag in info.tags:
                    if info.id != newest.id:
                        yield _checkpoint(store, info.ref, f"{name}: {run}@{tag}", places)
    except HoldfastError as error:
        yield Saved(name, {}, problem=error.message)


def _checkpoint(
    store: Store, ref: str, key: str, places: Mapping[str, str], newest: bool = False
) -> Saved:
    info = store.info(ref)
    leaves: dict[str, Leaf] = {}
    with closing(_Unpacked(store, info)) as unpacked:
        arrays = unpacked.arrays
        for leaf in store.leaves(ref):
            if leaf.kind != "array":
                leaves[leaf.path] = leaf_of(leaf.value, places)
                continue
            owner = leaf.alias_of or leaf.path
            found = leaf_of(arrays[owner], places) if owner in arrays else Leaf("array", "")
            leaves[leaf.path] = replace(
                found, dtype=leaf.dtype or "", shape=leaf.shape or (), tie=owner
            )
    leaves["@step"] = leaf_of(info.step, places)

    # Once for all leaves that differ, and only if one does.
    opened: list[_Unpacked] = []

    def array(path: str) -> Any:
        if not opened:
            opened.append(_Unpacked(store, info))
        return opened[0].arrays.get(path)

    return Saved(key, leaves, array, is_newest=newest)


class _Unpacked:
    """The arrays of a checkpoint in a temporary file, which goes with this object."""

    def __init__(self, store: Store, info: CheckpointInfo) -> None:
        import numpy as np

        folder = tempfile.mkdtemp(prefix="holdfast-drill-")
        self.close = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        store.unpack(info, folder)
        self.arrays: Any = np.load(os.path.join(folder, "arrays.npz"))
