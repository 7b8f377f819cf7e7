"""Good copies of chunks, looked for by digest: elsewhere in a store, and in other stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from holdfast.errors import HoldfastError
from holdfast.format.digests import digest
from holdfast.format.part import ChunkRow
from holdfast.records import commits
from holdfast.store.contract import ObjectStore


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
        self._indices: dict[str, dict[bytes, list[tuple[str, ChunkRow]]]] = {}

    def find(self, row: ChunkRow, into: memoryview) -> str | None:
        """Fill into with the chunk's bytes; return where they were found, or None."""
        for source in self._sources:
            for key, there in self._index(source).get(row.digest, ()):
                if _copy(source, key, there, into):
                    return key if source is self._store else source.location
        return None

    def _index(self, source: ObjectStore) -> dict[bytes, list[tuple[str, ChunkRow]]]:
        if source.location not in self._indices:
            index: dict[bytes, list[tuple[str, ChunkRow]]] = {}
            for key, row in _chunks(source):
                index.setdefault(row.digest, []).append((key, row))
            self._indices[source.location] = index
        return self._indices[source.location]


def _chunks(store: ObjectStore) -> Iterator[tuple[str, ChunkRow]]:
    """Yield every chunk that a readable manifest of a store names, with its pack's key."""
    for run in commits.runs(store):
        for record in commits.good_commits(store, run):
            for ref in record.parts:
                try:
                    part = commits.read_part(store, record, ref)
                except HoldfastError:
                    continue
                yield from ((part.packs[row.pack].key, row) for row in part.chunks)


def _copy(store: ObjectStore, key: str, row: ChunkRow, into: memoryview) -> bool:
    data = memoryview(bytearray(row.length))
    try:
        with closing(store.open(key)) as reader:
            reader.read(data, row.offset)
    except HoldfastError:
        return False
    is_it = digest(data) == row.digest
    if is_it:
        into[:] = data
    return is_it
