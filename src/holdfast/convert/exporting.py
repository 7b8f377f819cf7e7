"""Export: a checkpoint, or a part of it, written in another tool's format and read back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.convert.byte_order import KeepsByteOrder, in_native_order
from holdfast.convert.contract import FilePlan, Format, HoldsSome, KeepsTree
from holdfast.convert.naming import parse_renames
from holdfast.convert.output import appearing
from holdfast.convert.registry import format_named
from holdfast.convert.selection import Selection, select
from holdfast.convert.tally import Progress
from holdfast.convert.writing_files import write_files
from holdfast.errors import CannotConvert, UsageError
from holdfast.format.commit import CommitRecord
from holdfast.history.refs import read_ref
from holdfast.records.opening import Location
from holdfast.repository import Store
from holdfast.state.paths import Patterns


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
    rules = parse_renames(rename)
    wanted = format_named(format)
    _require_known(wanted, options or {})
    at = Store(location).place
    store, trust = at.open(), at.authenticity.trust

    def run(record: CommitRecord) -> ExportReport:
        texts = _holds_texts(wanted)
        selection = select(
            store, record, root=root, only=only, skip=skip, rename=rules, texts=texts
        )
        turned: tuple[str, ...] = ()
        if not isinstance(wanted, KeepsByteOrder):
            selection, turned = in_native_order(selection)
        left_out = _left_out(wanted, selection)
        _require_exportable(wanted, selection, left_out)
        plans = wanted.plan(selection, options or {})
        members = wanted.members if _is_folder(plans) else ()
        with appearing(
            Path(path), is_folder=_is_folder(plans), overwrite=overwrite, members=members
        ) as place:
            # A checksum can be made to fit: where it matters who wrote, digests are compared.
            write_files(store, selection, plans, place, progress, full=trust is not None)
        report = _report(os.fspath(path), wanted, selection, plans, left_out)
        return replace(report, notes=(*turned, *report.notes))

    return read_ref(store, ref, run, trust)


def _is_folder(plans: Sequence[FilePlan]) -> bool:
    return any(plan.name for plan in plans)


def _report(
    path: str,
    format: Format,
    selection: Selection,
    plans: Sequence[FilePlan],
    left_out: tuple[str, ...],
) -> ExportReport:
    return ExportReport(
        selection.ref,
        path,
        format.name,
        tuple(plan.name for plan in plans),
        sum(plan.nbytes for plan in plans),
        len(selection.arrays),
        left_out,
        tuple(note for plan in plans for note in plan.notes),
    )


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


def _require_exportable(format: Format, selection: Selection, left_out: Sequence[str]) -> None:
    """Raise CannotConvert where the format has no place for anything, or two leaves one name."""
    if not isinstance(format, KeepsTree):
        selection.require_distinct()
    count = len(selection.values) + len(selection.left_out)
    if not selection.arrays and len(left_out) == count:
        raise CannotConvert(
            f"{format.name} has no place for anything that is selected of {selection.ref}: "
            f"{', '.join(left_out[:5])}. Nothing was written.",
            ref=selection.ref,
        )
