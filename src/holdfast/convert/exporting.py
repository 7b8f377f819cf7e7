"""Export: a checkpoint, or a part of it, written in another tool's format and read back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import xxhash

from holdfast.convert.contract import FilePlan, Format, HoldsSome, KeepsTree
from holdfast.convert.naming import parse_rename
from holdfast.convert.out_file import OutFile
from holdfast.convert.output import appearing
from holdfast.convert.reading_back import read_back
from holdfast.convert.registry import format_named
from holdfast.convert.selection import Selection, select
from holdfast.convert.streaming import ArrayWriter, WrittenSpan
from holdfast.convert.tally import Progress, tally
from holdfast.errors import CannotConvert, UsageError
from holdfast.format.commit import CommitRecord
from holdfast.history.refs import read_ref
from holdfast.records.marker import Location
from holdfast.repository import Store
from holdfast.state.paths import Patterns
from holdfast.store.contract import ObjectStore


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
        notes: What is there as another kind of value, a line each.
    """

    ref: str
    path: str
    format: str
    files: tuple[str, ...]
    nbytes: int
    n_arrays: int
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()


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
        overwrite: Replace a file that is at path, or a folder of the same format.
        options: What the format can do besides; see its documentation.
        progress: Called with the bytes done and the bytes to do.

    Raises:
        CannotConvert: The format has no place for something that is selected.
        UsageError: The format has no such option, or nothing is selected.
        AlreadyExists: There is something at path.
        DataError: The checkpoint is damaged; nothing is left at path.
        Untrusted: The store's trust policy does not believe it.
    """
    rules = [parse_rename(text) for text in rename]
    wanted = format_named(format)
    _require_known(wanted, options or {})
    at = Store(location).place
    store, trust = at.open(), at.authenticity.trust

    def run(record: CommitRecord) -> ExportReport:
        selection = select(
            store,
            record,
            root=root,
            only=only,
            skip=skip,
            rename=rules,
            texts=_holds_texts(wanted),
        )
        if not isinstance(wanted, KeepsTree):
            selection.require_distinct()
        left_out = _left_out(wanted, selection)
        if not selection.arrays and len(left_out) == len(selection.values) + len(
            selection.left_out
        ):
            raise CannotConvert(
                f"{wanted.name} has no place for anything that is selected of {selection.ref}: "
                f"{', '.join(left_out[:5])}. Nothing was written.",
                ref=selection.ref,
            )
        plans = wanted.plan(selection, options or {})
        is_folder = any(plan.name for plan in plans)
        where, members = Path(path), wanted.members
        with appearing(
            where, is_folder=is_folder, overwrite=overwrite, members=members if is_folder else ()
        ) as place:
            # A checksum can be made to fit: where it matters who wrote, digests are compared.
            _write(store, selection, plans, place, progress, full=trust is not None)
        return ExportReport(
            selection.ref,
            os.fspath(path),
            wanted.name,
            tuple(plan.name for plan in plans),
            sum(plan.nbytes for plan in plans),
            len(selection.arrays),
            left_out,
            tuple(note for plan in plans for note in plan.notes),
        )

    return read_ref(store, ref, run, trust)


def _require_known(format: Format, options: Mapping[str, object]) -> None:
    for name in options:
        if name not in format.options:
            known = f"it has {', '.join(format.options)}" if format.options else "it has none"
            raise UsageError(
                f"{format.name} has no option {name!r}; {known}. Nothing was written.", option=name
            )


def _holds_texts(format: Format) -> bool:
    return format.holds("") if isinstance(format, HoldsSome) else format.holds_values


def _left_out(format: Format, selection: Selection) -> tuple[str, ...]:
    values = selection.values
    if isinstance(format, HoldsSome):
        left = [v.name for v in values if not format.holds(v.value)]
    else:
        left = [] if format.holds_values else [v.name for v in values]
    return (*left, *selection.left_out)


def _write(
    store: ObjectStore,
    selection: Selection,
    plans: Sequence[FilePlan],
    place: Path,
    progress: Progress | None,
    *,
    full: bool,
) -> None:
    files: list[OutFile] = []
    try:
        for plan in plans:
            file = place / plan.name if plan.name else place
            file.parent.mkdir(parents=True, exist_ok=True)
            files.append(OutFile(file, plan.nbytes))
        # They are written, and then read back.
        total = 2 * sum(plan.nbytes for plan in plans)
        report = tally(total, progress or (lambda done, total: None))
        writer = ArrayWriter(store, selection, plans, files, full=full)
        writer.run(report)
        for number, plan in enumerate(plans):
            source = number if plan.sums_of is None else plan.sums_of
            late = plan.late(writer.sums(source)) if plan.sums is not None else ()
            for offset, data in chain(plan.pieces, late):
                files[number].write(data, offset)
                digest = xxhash.xxh3_64_intdigest(data)
                writer.spans.append(WrittenSpan(number, offset, len(data), digest))
            files[number].sync()
        read_back(writer.spans, files, report)
    finally:
        for opened in files:
            opened.close()
