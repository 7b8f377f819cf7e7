"""What the checkpoints of a run need in the store, and what of it is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from holdfast.errors import DataError
from holdfast.format.commit import CommitRecord
from holdfast.format.names import RunKeys
from holdfast.history.pack_names import packs_in
from holdfast.records import commits
from holdfast.store.contract import ObjectStore, list_everywhere


def stored_in_all(store: ObjectStore) -> int:
    """Return what the packs and manifests of all runs take, those that runs share counted once."""
    seen: set[tuple[str, int]] = set()
    total = 0
    for run in commits.runs(store):
        keys = RunKeys(run)
        for prefix in (keys.packs, keys.parts):
            for info in store.list(prefix):
                # A pack keeps its name where another run gives it a second one.
                named = info.key.removeprefix(prefix), info.size
                if info.n_names > 1 and named in seen:
                    continue
                total += info.size
                if info.n_names > 1:
                    seen.add(named)
    return total


@final
class Stock:
    """The packs and manifests of a run, listed once."""

    def __init__(self, store: ObjectStore, run: str) -> None:
        keys = RunKeys(run)
        self._store = store
        self._there = {
            info.key: info.size
            for prefix in (keys.packs, keys.parts)
            for info in list_everywhere(store, prefix)
        }

    @property
    def nbytes(self) -> int:
        """What all of them take, whatever needs them."""
        return sum(self._there.values())

    def needs(self, record: CommitRecord) -> Mapping[str, int] | None:
        """Return the objects of a checkpoint with their bytes, or None where it cannot be told."""
        needed = self._lengths(record)
        if needed is None:
            return None
        return {key: self._there.get(key, 0) for key in needed}

    def is_whole(self, record: CommitRecord) -> bool:
        """Say whether all objects of a checkpoint are there in their length; none is read again."""
        needed = self._lengths(record)
        if needed is None:
            return False
        return all(self._there.get(key, -1) >= length for key, length in needed.items())

    def _lengths(self, record: CommitRecord) -> dict[str, int] | None:
        needed: dict[str, int] = {}
        try:
            for part in record.parts:
                needed[part.key] = part.length
                needed.update(packs_in(self._store, part.key, part.digest))
        except DataError:
            return None
        return needed
