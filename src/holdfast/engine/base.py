"""The checkpoint that a save builds on: what of it need not be written again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import final

from holdfast.chunks.stored import Stored, stored_at
from holdfast.errors import DataError
from holdfast.format.commit import CommitRecord, PartRef
from holdfast.records import commits
from holdfast.store.contract import ObjectStore, is_here

_log = logging.getLogger("holdfast")

_FEW_PARTS = 64


@dataclass(frozen=True, slots=True)
class Base:
    """The checkpoint that a save may refer to: its commit's number, parts, and chunks by digest.

    One that another process wrote (not ``is_ours``) may have been damaged since: a chunk of it is
    read and checked before a new checkpoint comes to depend on it. ``places`` are its chunks in
    order, where it has one part.
    """

    seq: int
    checkpoint_id: str
    part_keys: tuple[str, ...]
    chunks: Mapping[bytes, Stored]
    is_ours: bool
    written_bytes: int
    places: Sequence[Stored] = ()


def load_base(store: ObjectStore, record: CommitRecord, rank: int = 0) -> Base | None:
    """Return what a save may refer to of a checkpoint that is there; None if it is not whole.

    Args:
        store: Where it is.
        record: Its commit.
        rank: Which part is the one that the next save's is like. All of them may be referred to,
            or that one only where there are many: that each of thousands of ranks reads the parts
            of all would take longer than to write anew.
    """
    try:
        known: dict[bytes, Stored] = {}
        places: list[Stored] = []
        named = _named_parts(record, rank)
        for ref in named:
            part = commits.read_part(store, record, ref)
            found = [stored_at(part, row) for row in part.chunks]
            known |= with_bases(found)
            places = found if ref.rank == rank else places
        known = _at_hand(store, known)
        sizes = {place.pack_key: place.pack_length for place in known.values()}
        if any(not _has_size(store, key, size) for key, size in sizes.items()):
            return None
    except DataError:
        return None
    return Base(
        record.seq,
        record.id,
        tuple(ref.key for ref in named),
        known,
        is_ours=False,
        written_bytes=record.stored_bytes,
        places=places,
    )


def _at_hand(store: ObjectStore, known: Mapping[bytes, Stored]) -> dict[bytes, Stored]:
    """Return the chunks that this host has; what others have would have to be fetched first."""
    packs = {at.pack_key for at in known.values()}
    away = {key for key in packs if not is_here(store, key)}

    def is_at_hand(at: Stored) -> bool:
        return at.pack_key not in away and (at.base is None or at.base.pack_key not in away)

    return {name: at for name, at in known.items() if is_at_hand(at)}


def _named_parts(record: CommitRecord, rank: int) -> Sequence[PartRef]:
    if len(record.parts) <= _FEW_PARTS:
        return record.parts
    return [ref for ref in record.parts if ref.rank == rank]


def with_bases(places: Sequence[Stored]) -> dict[bytes, Stored]:
    """Return chunks, and those that they are differences from, by digest."""
    bases = {place.base.digest: place.base for place in places if place.base is not None}
    return bases | {place.digest: place for place in places}


def still_stored(
    unchanged: Mapping[int, Stored], base: Base | None, is_good: Callable[[Stored], bool]
) -> dict[int, Stored]:
    """Return, of chunks that have not changed, those that lie where the base names them.

    Args:
        unchanged: Where they were stored, by index.
        base: The checkpoint that the save builds on.
        is_good: Says of a chunk whether it is good where it lies.
    """
    # Only what the base names is protected from a sweep; the arena's last save is the base, or
    # shares these chunks with it.
    if base is None:
        return {}
    named = {i: at for i, at in unchanged.items() if base.chunks.get(at.digest) == at}
    return {i: at for i, at in named.items() if is_good(at)}


@final
class PacksThere:
    """Says of chunks that this process has written whether their packs are there, in full.

    Whoever removes files by hand shall not spoil the checkpoints to come. Each pack is asked for
    once, so one of these serves one save.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._asked: dict[str, bool] = {}

    def __call__(self, place: Stored) -> bool:
        """Say whether a chunk, and what it is a difference from, lies in packs that are there."""
        return self._is_there(place) and (place.base is None or self._is_there(place.base))

    def _is_there(self, place: Stored) -> bool:
        found = self._asked.get(place.pack_key)
        if found is None:
            try:
                found = _has_size(self._store, place.pack_key, place.pack_length)
            except DataError:
                found = False
            self._asked[place.pack_key] = found
            if not found:
                _log.warning(
                    "%s is gone or cut short. What this checkpoint needs of it is written again; "
                    "checkpoints before stay damaged: 'holdfast verify' tells which.",
                    place.pack_key,
                )
        return found


def _has_size(store: ObjectStore, key: str, size: int) -> bool:
    with closing(store.open(key)) as reader:
        return reader.size == size
