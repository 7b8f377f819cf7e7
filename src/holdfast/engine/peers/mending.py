"""What is damaged or gone on this host is got from another one, whose copy is checked first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import final

from holdfast.chunks.batch import ChunkRead, read_of
from holdfast.chunks.check import check_chunks
from holdfast.engine.peers.agreeing import get_part
from holdfast.engine.peers.peered_store import PeeredStore
from holdfast.errors import ChunkMissing, DataError, HoldfastError
from holdfast.format.commit import CommitRecord
from holdfast.format.part import Part
from holdfast.records import commits
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")


def mend(store: ObjectStore, record: CommitRecord) -> bool:
    """Put right what is damaged on this host of a checkpoint; say whether anything was.

    Packs that are not here stay where they are: they come when they are read.

    Args:
        store: The host's, and those of others; any other store is left alone.
        record: The checkpoint.
    """
    if not isinstance(store, PeeredStore):
        return False
    is_better = False
    for ref in record.parts:
        is_better |= get_part(store, ref.key, ref.digest)
        try:
            part = commits.read_part(store, record, ref)
        except DataError:
            continue
        for key in _Packs(store, part).bad():
            is_better |= _replaced(store, part, key)
    return is_better


def explained(store: ObjectStore, record: CommitRecord, error: DataError) -> DataError:
    """Return an error that names the ranks whose parts are on no host, where that is what it is."""
    if not isinstance(store, PeeredStore):
        return error
    try:
        gone = ranks_gone(store, record)
    except HoldfastError:
        return error
    if not gone:
        return error
    here = ", ".join(repr(peer.name) for peer in store.peers)
    return ChunkMissing(
        f"{record.run}@{record.step} cannot be put together: what rank(s) "
        f"{', '.join(map(str, gone))} of {record.world_size} saved is neither on this host nor on "
        f"another one that takes part ({here or 'there is none'}). More hosts are gone, or are not "
        "back yet, than there were copies. Bring one of theirs back, with its disk, and start "
        "again.",
        ranks=",".join(map(str, gone)),
        step=record.step,
    )


def ranks_gone(store: PeeredStore, record: CommitRecord) -> list[int]:
    """Return the ranks of a checkpoint that had saved what is on no host any more."""
    keys = store.allowed.keys
    there = {info.key for info in store.list_everywhere(keys.packs)}
    gone = []
    for ref in record.parts:
        try:
            part = commits.read_part(store, record, ref)
        except DataError:
            gone.append(ref.rank)
            continue
        if any(pack.key not in there for pack in part.packs):
            gone.append(ref.rank)
    return gone


def _replaced(store: PeeredStore, part: Part, key: str) -> bool:
    """Say whether a damaged pack was replaced by a good one of another host."""
    try:
        store.fetch(key, lambda: not _Packs(store, part, only=key).bad())
    except DataError as error:
        _log.warning("%s is damaged on this host, and nowhere good: %s", key, error)
        return False
    _log.warning("%s was damaged on this host; a good copy of another host took its place.", key)
    return True


@final
class _Packs:
    """The packs of a part that are on this host, checked chunk by chunk."""

    def __init__(self, store: PeeredStore, part: Part, only: str | None = None) -> None:
        self._store = store
        self._reads = [
            read_of(part, row)
            for row in part.chunks
            if only in (None, part.packs[row.pack].key) and store.is_here(part.packs[row.pack].key)
        ]
        self._bad: set[str] = set()
        self._lock = threading.Lock()

    def bad(self) -> Sequence[str]:
        """Return the keys of those that have a damaged chunk, sorted."""
        check_chunks(self._store, self._reads, self._note)
        return sorted(self._bad)

    def _note(self, read: ChunkRead, problem: str | None) -> None:
        if problem is not None:
            with self._lock:
                self._bad.add(read.pack_key)
