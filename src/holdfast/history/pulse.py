"""Whether anything is new in a run or a store, told without reading what it is."""

from __future__ import annotations

from holdfast.format.digests import digest
from holdfast.format.names import RunKeys
from holdfast.records import commits
from holdfast.store.contract import ObjectStore


def pulse(store: ObjectStore, run: str | None = None) -> str:
    """Return a text that changes when checkpoints, names, notes or metrics come or go.

    Args:
        store: The store.
        run: The run; None: all of them.
    """
    runs = commits.runs(store) if run is None else [run]
    listed = [
        (info.key, info.size, info.modified_s)
        for name in runs
        for keys in [RunKeys(name)]
        for prefix in (keys.commits, keys.tags, keys.names, keys.notes, keys.metrics)
        for info in store.list(prefix)
    ]
    return digest(repr((runs, listed)).encode()).hex()[:32]
