"""Import: a file or folder of another tool becomes a checkpoint."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from holdfast.convert import (
    lazy,  # noqa: F401 - arrays of files are leaves of what is imported
)
from holdfast.convert.bounds import require_in_proportion, require_plain
from holdfast.convert.contract import Format, Imported, ReadsUnknown
from holdfast.convert.counting import counted
from holdfast.convert.naming import Rename, parse_renames, renamed, without_effect
from holdfast.convert.registry import format_named, format_of
from holdfast.convert.tally import Progress
from holdfast.errors import CannotConvert, NotFound, UsageError
from holdfast.foreign import Unknown
from holdfast.history.info import CheckpointInfo
from holdfast.oneshot import save
from holdfast.records.opening import Location
from holdfast.repository import Store
from holdfast.state.paths import Patterns

_log = logging.getLogger(__name__)


class Importing(TypedDict, total=False):
    """How files of other tools are read: arguments of ``import_checkpoint``, one by one."""

    format: str | None
    root: str | None
    only: Patterns
    skip: Patterns
    rename: Sequence[str]
    unknown: Unknown
    progress: Progress | None


def import_checkpoint(
    location: Location | Store,
    path: str | os.PathLike[str],
    *,
    run: str,
    step: int = 0,
    format: str | None = None,
    root: str | None = None,
    only: Patterns = None,
    skip: Patterns = None,
    rename: Sequence[str] = (),
    unknown: Unknown = "refuse",
    metrics: Mapping[str, Any] | None = None,
    tag: str | None = None,
    progress: Progress | None = None,
    on_note: Callable[[str], None] = _log.warning,
) -> CheckpointInfo:
    """Save what another tool's file holds as a checkpoint; no code in it is run.

    Memory is bounded by a few chunks, whatever the size.

    Args:
        location: Folder of the store, made if it is not there; or a ``Store``.
        path: The file or folder.
        run: Name of the run to save it in.
        step: Name of the checkpoint.
        format: Name of the format; found by looking if not given.
        root: Name to put everything under, such as ``model``.
        only: Glob patterns on leaf paths; only leaves that match are saved.
        skip: Glob patterns on leaf paths; leaves that match are not saved.
        rename: Rules ``PATTERN=REPLACEMENT`` for names, with regular expressions.
        unknown: What to do with objects of classes that only their own code knows, in formats that
            are pickles: ``"refuse"`` the file, or ``"keep"`` the plain values that they hold.
        metrics: Numbers that go with it.
        tag: A name to give the checkpoint.
        progress: Called with the bytes of arrays that were read, and of all; from several threads.
        on_note: Called with a line for each thing that became another kind of value; logs a
            warning if not given.

    Raises:
        NotFound: There is no such file.
        ForeignRefused: It would do more than build arrays and plain values, leads out of itself, or
            says that it is far more than it is.
        ForeignDamaged: It is not what it says, or cut short.
        CannotConvert: It holds something that cannot be saved.
    """
    where = Path(path)
    # What the files of a checkpoint of TensorFlow begin with is no file itself.
    if not where.exists() and not Path(f"{where}.index").is_file():
        raise NotFound(f"There is no file or folder {str(where)!r}.", path=str(where))
    require_plain(where)
    rules = parse_renames(rename)
    found = read_foreign(where, format, unknown)
    tree = _renamed(found.tree, rules) if rules else found.tree
    if root:
        tree = {root: tree}
    _require_names_of_theirs(tree)
    require_in_proportion(tree, where, only, skip)
    info = save(
        location,
        tree if progress is None else counted(tree, progress, only, skip),
        run=run,
        step=step,
        metrics=metrics,
        tag=tag,
        only=only,
        skip=skip,
        rng=False,
    )
    for note in (*found.notes, *_misspelt(rename, found.tree)):
        on_note(note)
    return info


def read_foreign(path: Path, format: str | None, unknown: Unknown) -> Imported:
    """Return what another tool's file holds; no array is read yet.

    Args:
        path: The file or folder.
        format: Name of the format; None: found by looking.
        unknown: What to do with objects of classes that only their own code knows.
    """
    reader = _asked_for(format, path) if format is not None else format_of(path)
    return _read(reader, path, unknown)


def _misspelt(rename: Sequence[str], tree: Mapping[str, Any]) -> list[str]:
    names = _innermost(tree) if rename else ()
    return [f"no name matched --rename {rule!r}" for rule in without_effect(rename, names)]


def _innermost(tree: Mapping[str, Any]) -> Iterator[str]:
    for key, value in tree.items():
        if not isinstance(value, dict) and isinstance(key, str):
            yield key
        yield from _innermost_in(value)


def _innermost_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _innermost(value)
    elif type(value) in (list, tuple):
        for item in value:
            yield from _innermost_in(item)


def _asked_for(name: str, path: Path) -> Format:
    """Return the format of that name; what is plainly of another is refused."""
    asked = format_named(name)
    if not asked.recognises(path):
        with suppress(CannotConvert):
            found = format_of(path)
            raise UsageError(
                f"{str(path)!r} is of the format {found.name}, not {name}. Nothing was read. Say "
                f"--format {found.name}, or nothing of it.",
                path=str(path),
            )
    return asked


def _read(reader: Format, path: Path, unknown: Unknown) -> Imported:
    if unknown == "refuse":
        return reader.read(path)
    if not isinstance(reader, ReadsUnknown):
        raise UsageError(
            f"unknown={unknown!r} is for pickles; {str(path)!r} is of the format {reader.name}."
        )
    return reader.read_unknown(path, unknown)


def _require_names_of_theirs(tree: dict[str, Any]) -> None:
    for name in tree:
        if name.startswith("@"):
            raise CannotConvert(
                f"{name!r} cannot stand at the root of a checkpoint, where such names are "
                "holdfast's own. Nothing was saved. Put everything under a name with --root, or "
                "change it with --rename.",
                name=name,
            )


def _renamed(tree: dict[str, Any], rules: Sequence[Rename]) -> dict[str, Any]:
    """Return a tree whose leaves have other names; only the innermost text keys change."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        is_inner = isinstance(key, str) and not isinstance(value, dict)
        new, made = renamed(key, rules) if is_inner else key, _renamed_in(value, rules)
        if new in out:
            raise CannotConvert(
                f"Two entries would both be called {new!r}. Nothing was saved.", name=new
            )
        out[new] = made
    return out


def _renamed_in(value: Any, rules: Sequence[Rename]) -> Any:
    """Return a value with the dicts in it renamed, those in lists and tuples too."""
    if isinstance(value, dict):
        return _renamed(value, rules)
    if type(value) in (list, tuple):
        return type(value)(_renamed_in(item, rules) for item in value)
    return value
