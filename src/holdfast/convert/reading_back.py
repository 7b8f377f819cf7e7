"""What was written is read again and compared, several stretches at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from holdfast.convert.out_file import OutFile
from holdfast.convert.streaming import WrittenSpan
from holdfast.foreign.same_bytes import require_same

_THREADS = 4
# Small stretches are one piece of work together, up to this size.
_BATCH_BYTES = 16 << 20


def read_back(
    spans: Sequence[WrittenSpan], files: Sequence[OutFile], report: Callable[[int], None]
) -> None:
    """Read stretches of files and compare them with what was written there.

    Args:
        spans: The stretches.
        files: The files, by their numbers in the spans.
        report: Called with the bytes of each; from several threads.

    Raises:
        IncompleteWrite: One is not as it was written.
    """

    def work(batch: Sequence[WrittenSpan]) -> None:
        for span in batch:
            pieces = files[span.file].read(span.offset, span.nbytes)
            require_same(pieces, span.digest, span.nbytes)
            report(span.nbytes)

    with ThreadPoolExecutor(_THREADS, "holdfast-read-back") as pool:
        for _ in pool.map(work, _batches(spans)):
            pass


def _batches(spans: Sequence[WrittenSpan]) -> Iterator[list[WrittenSpan]]:
    batch, nbytes = list[WrittenSpan](), 0
    for span in spans:
        batch.append(span)
        nbytes += span.nbytes
        if nbytes >= _BATCH_BYTES:
            yield batch
            batch, nbytes = [], 0
    yield batch
