"""The manifest of the part that a save writes, made once every chunk has its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from holdfast.chunks.digesting import Look
from holdfast.chunks.finite import FiniteLook, Known
from holdfast.chunks.source import ChunkSource
from holdfast.chunks.write import Written
from holdfast.engine.job import SaveJob
from holdfast.format import part as part_format
from holdfast.format.commit import PartRef
from holdfast.format.digests import digest
from holdfast.format.names import RunKeys


@final
class PartManifest:
    """Completes the plan of a save, and counts what is not finite where that is wanted.

    Args:
        job: The save.
        source: The bytes of its chunks.
        keys: Those of the run.
        known: What was counted in an earlier save.
        check: Raises where the source has not given one moment of the state.

    Attributes:
        refs: What the commit says of it, once it is made.
        known: What the next save may know of these chunks.
    """

    def __init__(
        self,
        job: SaveJob,
        source: ChunkSource,
        keys: RunKeys,
        known: Known,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._job = job
        self._source = source
        self._check = check
        self._key = keys.part(job.id, job.rank)
        self._counts: list[int | None] = []
        self._finite: FiniteLook | None = None
        if job.check_finite:
            arrays = part_format.planned_arrays(job.plan)
            self._finite = FiniteLook(arrays, job.layout.lengths, known)
        self.refs: list[PartRef] = []
        self.known = known

    @property
    def look(self) -> Look | None:
        """What is to be shown the bytes of the chunks, or None."""
        return self._finite.look if self._finite is not None else None

    @property
    def not_finite(self) -> int | None:
        """How many elements are not finite, or None where nobody looked."""
        return sum(filter(None, self._counts)) if self._finite is not None else None

    def complete(self, written: Written) -> tuple[str, bytes]:
        """Return key and bytes of the manifest, now that it is known where the chunks lie."""
        # All of the source has been read, and nothing names what was written of it.
        self._check()
        if self._finite is not None:
            digests = [place.digest for place in written.places]
            self._counts = self._finite.counts(digests, self._content)
            self.known = self._finite.learnt(digests)
        data = part_format.complete(self._job.plan, *written.tables(), self._counts)
        self.refs = [PartRef(self._job.rank, self._key, digest(data), len(data))]
        return self._key, data

    def _content(self, chunk: int) -> memoryview:
        return self._source.acquire(chunk)[: self._job.layout.lengths[chunk]]
