"""Planned files written: arrays in parallel, then all else; durable and read back at the end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path

import xxhash

from holdfast.convert.contract import FilePlan
from holdfast.convert.out_file import OutFile
from holdfast.convert.reading_back import read_back
from holdfast.convert.selection import Selection
from holdfast.convert.streaming import ArrayWriter, WrittenSpan
from holdfast.convert.tally import Progress, tally
from holdfast.store.contract import ObjectStore


def write_files(
    store: ObjectStore,
    selection: Selection,
    plans: Sequence[FilePlan],
    place: Path,
    progress: Progress | None,
    *,
    full: bool,
) -> None:
    """Write files as they are planned.

    Args:
        store: Where the checkpoint is.
        selection: What is exported.
        plans: The files.
        place: The folder that they go into; the file itself, where its plan has no name.
        progress: Called with the bytes done and the bytes to do.
        full: Check BLAKE3 digests of chunks instead of XXH3 checksums.

    Raises:
        DataError: The checkpoint is damaged.
        IncompleteWrite: What is read back is something else.
        OSError: The files cannot be written.
    """
    # They are written, and then read back.
    total = 2 * sum(plan.nbytes for plan in plans)
    report = tally(total, progress or (lambda done, total: None))
    with ExitStack() as stack:
        files = [stack.enter_context(closing(_new_file(place, plan))) for plan in plans]
        writer = ArrayWriter(store, selection, plans, files, full=full)
        writer.run(report)
        arrays = _nbytes(writer.spans)
        for number, file in enumerate(files):
            _write_rest(number, file, plans, writer)
            file.sync()
        # What is no array, and the zeros between arrays and behind them, which are not read back.
        report(max(0, total - arrays - _nbytes(writer.spans)))
        read_back(writer.spans, files, report)


def _nbytes(spans: Sequence[WrittenSpan]) -> int:
    return sum(span.nbytes for span in spans)


def _new_file(place: Path, plan: FilePlan) -> OutFile:
    path = place / plan.name if plan.name else place
    path.parent.mkdir(parents=True, exist_ok=True)
    return OutFile(path, plan.nbytes)


def _write_rest(number: int, file: OutFile, plans: Sequence[FilePlan], writer: ArrayWriter) -> None:
    """Write what of a file is no array."""
    plan = plans[number]
    source = number if plan.sums_of is None else plan.sums_of
    late = plan.late(writer.sums(source)) if plan.sums is not None else ()
    for offset, data in chain(plan.pieces, late):
        file.write(data, offset)
        digest = xxhash.xxh3_64_intdigest(data)
        writer.spans.append(WrittenSpan(number, offset, len(data), digest))
