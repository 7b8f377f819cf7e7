"""A folder of checkpoints of one training becomes a run: each file or folder in it a checkpoint."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Unpack

from holdfast.convert.bounds import require_plain
from holdfast.convert.importing import Importing, import_checkpoint, read_foreign
from holdfast.convert.registry import members_of
from holdfast.errors import CannotConvert, NotFound, UsageError
from holdfast.format.lineage import MAX_STEP
from holdfast.history.info import CheckpointInfo
from holdfast.records.opening import Location
from holdfast.repository import Store

_log = logging.getLogger(__name__)

_STEP = re.compile(r"steps?[=_.-]?(\d+)", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_TOLD = 3


class Member(NamedTuple):
    """One checkpoint of a series: where it is, and its step."""

    path: Path
    step: int


def step_in(name: str) -> int | None:
    """Return the step that the name of a file or folder tells, or None.

    It is the number behind ``step``, else the last one before the ending.

    >>> step_in("epoch=3-step=120.ckpt"), step_in("checkpoint-500"), step_in("best.pth")
    (120, 500, None)
    """
    # An ending has no digit in front: that of 'epoch.10' is none.
    stem = re.sub(r"(\.[A-Za-z]\w*)+$", "", name)
    found = _STEP.findall(stem) or _NUMBER.findall(stem)
    return int(found[-1]) if found and int(found[-1]) <= MAX_STEP else None


def series_in(folder: str | os.PathLike[str]) -> list[Member]:
    """Return the checkpoints in a folder whose names tell their step, by step.

    There are none where the folder is a checkpoint itself.

    Raises:
        CannotConvert: Two of them are of the same step.
    """
    return _told_apart(Path(folder))[0]


def _told_apart(folder: Path) -> tuple[list[Member], list[Path]]:
    """Return the checkpoints in a folder whose names tell their step, and the others."""
    found, others = list[Member](), list[Path]()
    for path in members_of(folder):
        step = step_in(path.name)
        if step is None:
            others.append(path)
        else:
            found.append(Member(path, step))
    found.sort(key=lambda member: (member.step, member.path.name))
    for one, other in pairwise(found):
        if one.step == other.step:
            raise CannotConvert(
                f"{one.path.name!r} and {other.path.name!r} in {str(folder)!r} are both of step "
                f"{one.step}. Nothing was read. Import them one at a time, with --step.",
                path=str(folder),
            )
    return found, others


def import_series(
    location: Location | Store,
    folder: str | os.PathLike[str],
    *,
    run: str,
    on_note: Callable[[str], None] = _log.warning,
    **how: Unpack[Importing],
) -> list[CheckpointInfo]:
    """Save the checkpoints in a folder as those of one run; no code in them is run.

    Each is imported as by ``import_checkpoint``, at the step that its name tells. All are looked
    into before the first is saved.

    Args:
        location: Folder of the store, made if it is not there; or a ``Store``.
        folder: The folder.
        run: Name of the run.
        on_note: Called with a line for each thing that became another kind of value, and for each
            checkpoint without a number in its name, which is not imported.
        how: ``format``, ``root``, ``only``, ``skip``, ``rename``, ``unknown`` and ``progress``, as
            ``import_checkpoint`` takes them.

    Returns:
        What was saved, by rising step.

    Raises:
        UsageError: The run has some of the steps already.
        CannotConvert: There is no such checkpoint in the folder, or two of one step; or one holds
            something that cannot be saved.
        ForeignRefused, ForeignDamaged: One of them is not to be read; none was saved.
    """
    where = Path(folder)
    if not where.is_dir():
        raise NotFound(f"There is no folder {str(where)!r}.", path=str(where))
    members, others = _told_apart(where)
    if not members:
        raise CannotConvert(
            f"{str(where)!r} has no checkpoint whose name tells its step. Nothing was read.",
            path=str(where),
        )
    _require_new(location, run, members)
    for member in members:
        require_plain(member.path)
        read_foreign(member.path, how.get("format"), how.get("unknown", "refuse"))
    saved = [
        import_checkpoint(
            location,
            member.path,
            run=run,
            step=member.step,
            on_note=partial(_note_of, member.path.name, on_note),
            **how,
        )
        for member in members
    ]
    for path in others:
        on_note(f"{path.name} has no number in its name, and was not imported")
    return saved


def _note_of(name: str, on_note: Callable[[str], None], note: str) -> None:
    on_note(f"{name}: {note}")


def _require_new(location: Location | Store, run: str, members: Sequence[Member]) -> None:
    try:
        there = {info.step for info in Store(location).log(run)}
    except NotFound:
        return
    doubled = [member.step for member in members if member.step in there]
    if doubled:
        told = ", ".join(map(str, doubled[:_TOLD])) + (", …" if len(doubled) > _TOLD else "")
        raise UsageError(
            f"Run {run!r} has step {told} already. Nothing was read. Import into another run.",
            run=run,
        )
