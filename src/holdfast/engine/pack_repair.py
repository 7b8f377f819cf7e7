"""Packs made anew of their good chunks, and of good copies of the others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from holdfast.chunks.batch import ChunkRead, read_of
from holdfast.chunks.check import Place, check_chunks, place_of_read
from holdfast.chunks.fetch import is_whole_with
from holdfast.chunks.form import form_of
from holdfast.engine.chunk_finder import ChunkFinder
from holdfast.errors import HoldfastError
from holdfast.format.part import PackRow, Part
from holdfast.history.verify import Progress
from holdfast.plan.layout import CHUNK_ALIGNMENT, align
from holdfast.store.contract import ObjectStore


class PackRepair:
    """Finds the damaged packs of a run, and what they should hold.

    Args:
        store: Where they are.
        sources: Other stores that may have their chunks.
        parts: Manifests that name the chunks.
        progress: Called with the bytes checked and the bytes to check.
    """

    def __init__(
        self,
        store: ObjectStore,
        sources: Sequence[ObjectStore],
        parts: Sequence[Part],
        progress: Progress | None,
    ) -> None:
        self._store = store
        self._finder = ChunkFinder(store, sources)
        self._packs = {pack.key: pack for part in parts for pack in part.packs}
        reads = (read_of(part, row) for part in parts for row in part.chunks)
        self._reads = {place_of_read(read): read for read in reads}
        self._bad = self._find_bad(progress or (lambda done, total: None))

    def damaged(self) -> list[PackRow]:
        """Return the packs that have damaged chunks."""
        return [self._packs[key] for key in sorted({place[0] for place in self._bad})]

    def made_anew(self, pack: PackRow) -> tuple[memoryview, set[str], int]:
        """Return what a pack should hold, where chunks of it were found, and how many were not."""
        mine = {place: read for place, read in self._reads.items() if place[0] == pack.key}
        # All that can be read stays: a manifest that is unreadable today may need some of it.
        content = self._readable(pack, [read for p, read in mine.items() if p not in self._bad])
        origins: set[str] = set()
        missing = 0
        for read in (read for place, read in mine.items() if place in self._bad):
            origin = self._fill(content, read)
            if origin is None:
                missing += 1
            else:
                origins.add(origin)
        return content, origins, missing

    def _fill(self, content: memoryview, read: ChunkRead) -> str | None:
        """Put a good copy of a chunk into its place; say where it was found."""
        row, nbytes = read.row, read.row.stored_length
        memory = memoryview(bytearray(align(nbytes, CHUNK_ALIGNMENT)))
        origin = self._finder.find(read, memory[:nbytes])
        if origin is not None:
            form = form_of(self._store)
            with form.stored([memory], [nbytes], [row.digest].__getitem__) as stored:
                place = content[row.offset : row.offset + stored[0].nbytes]
                # The last chunk of a pack that is no multiple of the alignment has less behind it.
                place[:] = stored[0][: place.nbytes]
        return origin

    def _readable(self, pack: PackRow, good: Sequence[ChunkRead]) -> memoryview:
        """Return what can be read of a pack, or else its good chunks; zeros elsewhere."""
        content = memoryview(bytearray(pack.length))
        try:
            with closing(self._store.open(pack.key)) as reader:
                reader.read(content[: min(reader.size, pack.length)], 0)
        except HoldfastError:
            for read in good:
                self._fill(content, read)
        return content

    def _find_bad(self, progress: Progress) -> set[Place]:
        bad: set[Place] = set()
        total, done = sum(read.row.length for read in self._reads.values()), 0

        def tell(read: ChunkRead, problem: str | None) -> None:
            nonlocal done
            if problem is not None:
                bad.add(place_of_read(read))
            done += read.row.length
            progress(done, total)

        check_chunks(self._store, list(self._reads.values()), tell)
        return {place for place in bad if not self._only_lacks_base(self._reads[place])}

    def _only_lacks_base(self, read: ChunkRead) -> bool:
        """Say whether a delta is good, and only its base has to be put right."""
        if read.base is None:
            return False
        base = self._finder.bytes_of(read.base)
        return base is not None and is_whole_with(self._store, read, base)
