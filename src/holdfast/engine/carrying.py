"""What a save carries over from the checkpoint before it: chunks that it refers to, not writes.

What is damaged is not, nor what would hold an old pack for the sake of little; both are written
again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace
from typing import Any, final

from holdfast.chunks.deltas import Ages, Origin, origins
from holdfast.chunks.fetch import fetch_chunk
from holdfast.chunks.stored import Stored
from holdfast.chunks.write import Written
from holdfast.engine.base import Base, PacksThere, load_base, with_bases
from holdfast.engine.job import SaveJob
from holdfast.engine.kin import Kin
from holdfast.format.commit import CommitRecord
from holdfast.format.names import RunKeys, checkpoint_of
from holdfast.plan.carrying import CarriedPack, chunks_to_move, repeated_bytes
from holdfast.records import pins
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")


@final
class Carrying:
    """Knows the newest checkpoint of a run, and what of it the next save may refer to.

    Args:
        store: Where the run is.
        run: Its name.
        rank: Which of the processes that save together this is.
        incarnation: Theirs; empty where there is but one.

    Attributes:
        base: That checkpoint, or None where there is none to build on.
    """

    def __init__(self, store: ObjectStore, run: str, rank: int = 0, incarnation: str = "") -> None:
        self._store = store
        self._run = run
        self._keys = RunKeys(run)
        self._ages = Ages()
        self._turn = 0
        self._rank = rank
        self._incarnation = incarnation
        self._kin: Kin | None = None
        self.base: Base | None = None

    def begin_anew(self) -> None:
        """Let the first save of the run refer to what other runs of the store have."""
        self._kin = Kin(self._store, self._run, self._rank)

    def note_ages(self, records: Iterable[CommitRecord]) -> None:
        """Take in when the packs of checkpoints that are there were written."""
        for record in records:
            self._ages.note(record.id, record.seq)

    def begin_at(self, record: CommitRecord) -> bool:
        """Let the next save build on a checkpoint that is there; return whether it can."""
        self.base = load_base(self._store, record, self._rank)
        return self.base is not None

    def go_on_from(self, record: CommitRecord, written: Written) -> None:
        """Let the next save build on the one that was committed just now."""
        self.base = Base(
            record.seq,
            record.id,
            # What this rank has written, its own part names all of.
            (record.parts[self._rank].key,),
            with_bases(written.places),
            is_ours=True,
            written_bytes=record.stored_bytes,
            places=written.places,
        )
        self._ages.note(record.id, record.seq)
        self._kin = None

    def pinned(self, checkpoint_id: str, draft: Mapping[str, Any] | None = None) -> Base | None:
        """Announce a save; return what it may refer to from now until its pin goes, if anything.

        Args:
            checkpoint_id: Its id.
            draft: What its commit will say, where others may have to make it.
        """
        base = self._pinned(checkpoint_id, draft)
        if base is None:
            return None
        return self._without_remains(self._without_damage(base))

    def _pinned(self, checkpoint_id: str, draft: Mapping[str, Any] | None) -> Base | None:
        base = self._kin.base() if self._kin is not None else self.base
        keys = base.part_keys if base else ()
        packs = tuple(self._kin.packs) if self._kin is not None else ()
        pin = pins.Pin(checkpoint_id, keys, self._rank, self._incarnation, draft, packs)
        pins.put_pin(self._store, self._run, pin)
        if self._kin is not None:
            # Of other runs nothing is relied on but what has been linked.
            return base
        # After the pin is visible, not before: see records.pins.
        if base is not None and not self._store.exists(self._keys.commit(base.seq)):
            base = self.base = None
        return base

    def check_for(self, base: Base | None) -> Callable[[Stored], bool]:
        """Return what says of a chunk of a base whether it is good, for one save."""
        if base is not None and base.is_ours:
            return PacksThere(self._store)
        return self._is_intact if self._kin is None else self._kin.is_good

    def origins(self, job: SaveJob, base: Base | None) -> dict[int, Origin]:
        """Return what a save's chunks may be stored as differences from, by index."""
        if base is None:
            return {}
        return origins(base.places, job.layout.lengths, base.chunks, self._ages)

    def _is_intact(self, place: Stored) -> bool:
        return fetch_chunk(self._store, place.read()) is not None

    def _without_damage(self, base: Base) -> Base:
        """Read a pack that was carried over again, another one each time; forget what is damaged.

        A frozen leaf is stored once and referred to for as long as training lasts. A bit of it that
        flips on the disk meanwhile shall not spoil every checkpoint to come.
        """
        carried = _carried(base) if base.is_ours else {}
        if not carried:
            return base
        key = sorted(carried)[self._turn % len(carried)]
        self._turn += 1
        bad = {place.digest for place in carried[key] if not self._is_intact(place)}
        if not bad:
            return base
        _log.warning(
            "%d chunk(s) in %s are damaged or gone. They are written again; checkpoints before "
            "this one stay damaged: 'holdfast verify' tells which.",
            len(bad),
            key,
        )
        return _without(base, bad)

    def _without_remains(self, base: Base) -> Base:
        """Forget chunks that are better written again: see plan.carrying."""
        tiny = repeated_bytes([place.length for place in base.chunks.values()])
        small = {name for name, place in base.chunks.items() if place.length <= tiny}
        return _without(base, small | self._chunks_to_move(base))

    def _chunks_to_move(self, base: Base) -> set[bytes]:
        carried = _carried(base)
        if not carried:
            return set()
        # Each is asked for: thousands of ranks that list all parts would ask more than the store
        # can answer.
        ids = {checkpoint_of(key) for key in carried}
        there = {name for name in ids if self._store.exists(self._keys.part(name, 0))}
        old = [
            CarriedPack(of_pack[0].pack_length, {at.digest: at.stored_length for at in of_pack})
            for key, of_pack in carried.items()
            if checkpoint_of(key) not in there
        ]
        return chunks_to_move(old, base.written_bytes)


def _carried(base: Base) -> Mapping[str, list[Stored]]:
    """Return the chunks that a checkpoint has from earlier ones, by pack."""
    found: dict[str, list[Stored]] = {}
    for place in base.chunks.values():
        if checkpoint_of(place.pack_key) != base.checkpoint_id:
            found.setdefault(place.pack_key, []).append(place)
    return found


def _without(base: Base, digests: Set[bytes]) -> Base:
    """Return a base without some chunks, nor those that are differences from them."""
    kept = {name: at for name, at in base.chunks.items() if not digests & _named_by(at)}
    return replace(base, chunks=kept)


def _named_by(place: Stored) -> set[bytes]:
    """Return the digests of a chunk, and of what it is a difference from."""
    return {place.digest} | ({place.base.digest} if place.base is not None else set())
