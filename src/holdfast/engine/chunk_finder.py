"""Good copies of chunks, looked for by digest: elsewhere in a store, and in other stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.chunks.batch import ChunkRead, read_of
from holdfast.chunks.fetch import fetch_both
from holdfast.chunks.form import form_of, is_chunk
from holdfast.chunks.refit import as_stored
from holdfast.errors import HoldfastError
from holdfast.format.part import ChunkRow
from holdfast.records import commits
from holdfast.store.contract import ObjectStore

_Index = dict[tuple[bytes, int], list[ChunkRead]]


class ChunkFinder:
    """Finds the bytes of a chunk by its digest.

    Args:
        store: Where the chunk should be, and is looked for first.
        sources: Other stores, in the order to ask them.
    """

    def __init__(self, store: ObjectStore, sources: Sequence[ObjectStore]) -> None:
        self._store = store
        self._sources = [store, *sources]
        # Made when a store is first asked.
        self._indices: dict[str, _Index] = {}

    def find(self, wanted: ChunkRead, into: memoryview) -> str | None:
        """Fill into with what a chunk is stored as; return where it was found, or None.

        Args:
            wanted: The chunk, where it should be.
            into: Memory of its ``stored_length``; what a codec does not need of it is zero.
        """
        for source, there, data, as_there in self._copies(wanted.row):
            stored = as_stored(wanted, there, data, as_there, self.bytes_of)
            if stored is not None:
                into[: stored.nbytes] = stored
                into[stored.nbytes :] = bytes(into.nbytes - stored.nbytes)
                return there.pack_key if source is self._store else source.location
        return None

    def bytes_of(self, wanted: ChunkRead) -> memoryview | None:
        """Return the bytes of a chunk, wherever it is whole, or None."""
        return next((data for _, _, data, _ in self._copies(wanted.row)), None)

    def _copies(
        self, row: ChunkRow
    ) -> Iterator[tuple[ObjectStore, ChunkRead, memoryview, memoryview]]:
        """Yield good copies: the store, the read there, the bytes, and what they are stored as."""
        for source in self._sources:
            for there in self._index(source).get((row.check, row.length), ()):
                found = fetch_both(source, there)
                if found is not None and is_chunk(form_of(self._store), found[0], row.digest):
                    yield source, there, *found

    def _index(self, source: ObjectStore) -> _Index:
        # By checksum, not by id: encrypted stores give ids of their own to the same bytes.
        if source.location not in self._indices:
            index: _Index = {}
            for read in _chunks(source):
                index.setdefault((read.row.check, read.row.length), []).append(read)
            self._indices[source.location] = index
        return self._indices[source.location]


def _chunks(store: ObjectStore) -> Iterator[ChunkRead]:
    """Yield every chunk that a readable manifest of a store names."""
    for run in commits.runs(store):
        for record in commits.good_commits(store, run):
            for ref in record.parts:
                try:
                    part = commits.read_part(store, record, ref)
                except HoldfastError:
                    continue
                yield from (read_of(part, row) for row in part.chunks)
