"""Export: a checkpoint, or a part of it, written in another tool's format and read back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from holdfast.convert.contract import FilePlan, Format, HoldsSome
from holdfast.convert.naming import parse_rename
from holdfast.convert.output import appearing
from holdfast.convert.registry import format_named
from holdfast.convert.selection import Selection, select
from holdfast.convert.streaming import ArrayWriter, WrittenSpan, write_at
from holdfast.errors import IncompleteWrite
from holdfast.format.commit import CommitRecord
from holdfast.history.refs import read_ref
from holdfast.records.marker import Location
from holdfast.repository import Store
from holdfast.state.paths import Patterns
from holdfast.store.contract import ObjectStore

_READ_BYTES = 4 << 20

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported.

    Attributes:
        ref: The checkpoint.
        path: Where it is now.
        format: The name of the format.
        files: The files, relative to path; empty text for path itself.
        nbytes: Bytes of all files.
        n_arrays: How many arrays they hold.
        left_out: Names of plain values for which the format has no place.
    """

    ref: str
    path: str
    format: str
    files: tuple[str, ...]
    nbytes: int
    n_arrays: int
    left_out: tuple[str, ...]


def export(
    location: Location | Store,
    ref: str,
    path: str | os.PathLike[str],
    *,
    format: str,
    root: str | None = None,
    only: Patterns = None,
    skip: Patterns = None,
    rename: Sequence[str] = (),
    overwrite: bool = False,
    options: Mapping[str, object] | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Write a checkpoint in another tool's format; it is durable and read back on return.

    Memory is bounded by a few chunks, whatever the size. Every chunk is checked before its bytes
    are written, and every byte that was written is read again and compared.

    Args:
        location: Folder of the store, or a ``Store``.
        ref: The checkpoint.
        path: The file or folder to make.
        format: Name of the format; see ``format_names``.
        root: Path of the node below which names begin, such as ``model``.
        only: Glob patterns on leaf paths; only leaves that match are exported.
        skip: Glob patterns on leaf paths; leaves that match are not exported.
        rename: Rules ``PATTERN=REPLACEMENT`` for names, with regular expressions.
        overwrite: Replace what is at path.
        options: What the format can do besides; see its documentation.
        progress: Called with the bytes done and the bytes to do.

    Raises:
        CannotConvert: The format has no place for something that is selected.
        AlreadyExists: There is something at path.
        DataError: The checkpoint is damaged; nothing is left at path.
        Untrusted: The store's trust policy does not believe it.
    """
    rules = [parse_rename(text) for text in rename]
    wanted = format_named(format)
    at = Store(location).place
    store, trust = at.open(), at.authenticity.trust

    def run(record: CommitRecord) -> ExportReport:
        selection = select(store, record, root=root, only=only, skip=skip, rename=rules)
        plans = wanted.plan(selection, options or {})
        is_folder = any(plan.name for plan in plans)
        with appearing(Path(path), is_folder=is_folder, overwrite=overwrite) as place:
            # A checksum can be made to fit: where it matters who wrote, digests are compared.
            _write(store, selection, plans, place, progress, full=trust is not None)
        return ExportReport(
            selection.ref,
            os.fspath(path),
            wanted.name,
            tuple(plan.name for plan in plans),
            sum(plan.nbytes for plan in plans),
            len(selection.arrays),
            _left_out(wanted, selection),
        )

    return read_ref(store, ref, run, trust)


def _left_out(format: Format, selection: Selection) -> tuple[str, ...]:
    if isinstance(format, HoldsSome):
        return tuple(v.name for v in selection.values if not format.holds(v.value))
    return () if format.holds_values else tuple(value.name for value in selection.values)


def _write(
    store: ObjectStore,
    selection: Selection,
    plans: Sequence[FilePlan],
    place: Path,
    progress: Progress | None,
    *,
    full: bool,
) -> None:
    fds: list[int] = []
    try:
        for plan in plans:
            file = place / plan.name if plan.name else place
            file.parent.mkdir(parents=True, exist_ok=True)
            fds.append(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            os.ftruncate(fds[-1], plan.nbytes)
        report = _reporter(sum(plan.nbytes for plan in plans), progress)
        writer = ArrayWriter(store, selection, plans, fds, full=full)
        writer.run(report)
        for number, plan in enumerate(plans):
            source = number if plan.sums_of is None else plan.sums_of
            late = plan.late(writer.sums(source)) if plan.sums is not None else ()
            for offset, data in [*plan.pieces, *late]:
                write_at(fds[number], data, offset)
            os.fsync(fds[number])
        _read_back(writer.spans, fds, report)
    finally:
        for fd in fds:
            os.close(fd)


def _reporter(nbytes: int, progress: Progress | None) -> Callable[[int], None]:
    """Return what counts bytes that were written, and then read back."""
    done, lock = 0, threading.Lock()

    def report(n: int) -> None:
        nonlocal done
        with lock:
            done += n
            if progress is not None:
                progress(min(done, 2 * nbytes), 2 * nbytes)

    return report


def _read_back(
    spans: Sequence[WrittenSpan], fds: Sequence[int], report: Callable[[int], None]
) -> None:
    buffer = memoryview(bytearray(_READ_BYTES))
    for span in spans:
        found, done = xxhash.xxh3_64(), 0
        while done < span.nbytes:
            piece = buffer[: min(_READ_BYTES, span.nbytes - done)]
            n = os.preadv(fds[span.file], [piece], span.offset + done)
            if n == 0:
                break
            found.update(piece[:n])
            done += n
        if found.intdigest() != span.digest:
            raise IncompleteWrite(
                "What was written is not what is read back; nothing is left of it. Is the disk "
                "in order?",
                planned=span.nbytes,
                written=done,
            )
        report(span.nbytes)
