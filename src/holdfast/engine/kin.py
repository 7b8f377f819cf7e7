"""What other runs of a store have of what the first save of a run is to write: linked, not written.

Runs that begin from the same weights have most of their bytes in common. Where the store can give
a file a second name, the packs of the others come into this run by theirs. Each run removes its
own names, knowing nothing of the others; the bytes go with the last.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import final

from holdfast.chunks.fetch import fetch_chunk
from holdfast.chunks.form import form_of, is_chunk
from holdfast.chunks.stored import Stored
from holdfast.engine.base import Base, load_base
from holdfast.errors import HoldfastError
from holdfast.format.commit import CommitRecord
from holdfast.format.names import RunKeys, last_component
from holdfast.records import commits
from holdfast.store.contract import ObjectStore, linking

_log = logging.getLogger("holdfast")

# Whose newest checkpoint is looked into: those that were saved last, of those whose names come
# last, as dates in names do. Thousands of runs would take longer to look through than to write
# anew.
_MOST_RUNS, _MOST_NAMES = 16, 256


@final
class Kin:
    """The newest checkpoints of other runs, as if their packs were this run's.

    Args:
        store: Where the runs are.
        run: The run that is begun.
        rank: Which of the processes that save it together this is.
    """

    def __init__(self, store: ObjectStore, run: str, rank: int) -> None:
        self._store = store
        self._run = run
        self._keys = RunKeys(run)
        self._rank = rank
        self._link = linking(store)
        # By this run's name of a pack, that of the run which has it.
        self._theirs: dict[str, str] = {}
        self._base: Base | None = None
        self._linked: dict[str, bool] = {}

    def base(self) -> Base | None:
        """Return what may be referred to once it is linked, or None if there is nothing."""
        if self._link is None or self._base is not None:
            return self._base
        chunks: dict[bytes, Stored] = {}
        try:
            for record in self._newest():
                found = load_base(self._store, record, self._rank)
                if found is not None:
                    # No differences: each of those takes two packs.
                    whole = {name: at for name, at in found.chunks.items() if at.base is None}
                    chunks = {name: self._ours(at) for name, at in whole.items()} | chunks
        except HoldfastError as error:
            _log.warning("What other runs have is written again: %s", error)
        if chunks:
            self._base = Base(0, "", (), chunks, is_ours=False, written_bytes=0)
        return self._base

    @property
    def packs(self) -> Sequence[str]:
        """This run's names of the packs that may be linked."""
        return sorted(self._theirs)

    def is_good(self, place: Stored) -> bool:
        """Link the pack of a chunk, and say whether the chunk is there and what it is called.

        By its digest: what this run says of its checkpoints does not rest on what others said.
        """
        if not self._is_linked(place.pack_key):
            return False
        data = fetch_chunk(self._store, place.read())
        return data is not None and is_chunk(form_of(self._store), data, place.digest)

    def _is_linked(self, key: str) -> bool:
        # Two threads may both link it: the second finds it there.
        found = self._linked.get(key)
        if found is None:
            assert self._link is not None
            found = self._linked[key] = self._link(self._theirs[key], key)
        return found

    def _newest(self) -> Iterator[CommitRecord]:
        """Yield the newest checkpoint of each of the runs that were saved last, the last first."""
        found = []
        others = [run for run in commits.runs(self._store) if run != self._run]
        for run in others[-_MOST_NAMES:]:
            numbers = commits.sequence_numbers(self._store, run)
            try:
                found += [commits.read_commit(self._store, run, seq) for seq in numbers[-1:]]
            except HoldfastError:
                continue
        found.sort(key=lambda record: record.created_ns, reverse=True)
        yield from found[:_MOST_RUNS]

    def _ours(self, place: Stored) -> Stored:
        key = f"{self._keys.packs}{last_component(place.pack_key)}"
        self._theirs[key] = place.pack_key
        return replace(place, pack_key=key)
