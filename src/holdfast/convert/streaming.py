"""Arrays of a checkpoint on their way into planned files: in parallel, in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import xxhash

from holdfast.chunks.batch import ChunkRead, read_of
from holdfast.chunks.visit import visit_chunks
from holdfast.convert.byte_order import turned_bytes
from holdfast.convert.contract import FilePlan
from holdfast.convert.out_file import OutFile
from holdfast.convert.selection import Selection
from holdfast.foreign.checksums import checksum, combined
from holdfast.plan.reads import Span, plan_reads
from holdfast.store.contract import ObjectStore


@dataclass(frozen=True, slots=True)
class WrittenSpan:
    """Bytes that were written: file, place in it, length, digest; for reading them back."""

    file: int
    offset: int
    nbytes: int
    digest: int


class ArrayWriter:
    """Writes the arrays of a selection to where plans want them.

    Args:
        store: Where the checkpoint is.
        selection: What is exported.
        plans: The files.
        files: The same, opened, in their order.
        full: Check BLAKE3 digests of chunks instead of XXH3 checksums.
    """

    def __init__(
        self,
        store: ObjectStore,
        selection: Selection,
        plans: Sequence[FilePlan],
        files: Sequence[OutFile],
        *,
        full: bool,
    ) -> None:
        self._store = store
        self._selection = selection
        self._plans = plans
        self._files = files
        self._full = full
        # Every place that an array goes to: of which file, at which offset.
        self._wants = [(f, a) for f, plan in enumerate(plans) for a in plan.arrays]
        self._sums: dict[int, dict[int, tuple[int, int]]] = {}
        self._lock = threading.Lock()
        self.spans: list[WrittenSpan] = []

    def run(self, progress: Callable[[int], None]) -> None:
        """Write all arrays.

        Args:
            progress: Called with the bytes of each stretch that is written; from several threads.

        Raises:
            DataError: The checkpoint is damaged.
            OSError: The files cannot be written.
        """
        part = self._selection.part
        lengths = [chunk.length for chunk in part.chunks]
        spans = plan_reads(part.arrays, lengths, [a.row for _, a in self._wants])
        names = {array.row: array.name for array in self._selection.arrays}
        reads, of_read = [], {}
        for chunk, found in spans.items():
            row = part.chunks[chunk]
            leaf = names.get(self._wants[found[0].want][1].row, "an array")
            read = read_of(part, row, leaf=leaf)
            reads.append(read)
            of_read[id(read)] = found

        def write(read: ChunkRead, data: memoryview) -> None:
            for span in of_read[id(read)]:
                self._write(span, data[span.begin : span.begin + span.nbytes])
                progress(span.nbytes)

        visit_chunks(self._store, reads, write, ref=self._selection.ref, full=self._full)

    def sums(self, file: int) -> list[int]:
        """Return the checksums of a file's arrays, in the order of its plan."""
        kind = self._plans[file].sums
        assert kind is not None
        wants = [want for want, (of_file, _) in enumerate(self._wants) if of_file == file]
        sums = [self._sums.get(want, {}) for want in wants]
        return [combined(kind, (part for _, part in sorted(found.items()))) for found in sums]

    def _write(self, span: Span, data: memoryview) -> None:
        file, array = self._wants[span.want]
        if (unit_bytes := self._selection.turned.get(array.row)) is not None:
            # Chunks end where elements do.
            data = turned_bytes(data, unit_bytes)
        offset = array.offset + span.at
        self._files[file].write(data, offset)
        written = WrittenSpan(file, offset, span.nbytes, xxhash.xxh3_64_intdigest(data))
        kind = self._plans[file].sums
        value = checksum(kind)(data) if kind is not None else 0
        with self._lock:
            self.spans.append(written)
            if kind is not None:
                self._sums.setdefault(span.want, {})[span.at] = value, span.nbytes
