"""Checkpoints of several ranks that a reader must refuse: rule B."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ranks
from blake3 import blake3

from holdfast.format.schema import TreeMessage

Edit = Callable[[Any], object]


def edits() -> list[tuple[str, str, Edit]]:
    """Return name, reason, and what is done to the parts of a sound checkpoint."""
    return [
        ("plan-other", "a rank that agreed on something else", _of(1, _other_plan)),
        ("plan-short", "a digest of 31 bytes", _of(1, lambda m: _set(m, plan=m.plan[:31]))),
        ("plan-wrong", "a tree that is not what its digest says", _everywhere_wrong),
        ("shared-absent", "no tree in the part of rank 0", _of(0, lambda m: _set(m, shared=b""))),
        ("shared-twice", "the tree in another part, too", _of(2, _with_shared)),
        ("boxes-absent", "a part without boxes", _of(1, lambda m: m.ClearField("boxes"))),
        ("boxes-old", "boxes in a part of format 1", _of(1, lambda m: _set(m, format=1))),
        ("boxes-many", "more boxes than rows", _of(1, _many)),
        ("box-order", "boxes that do not come by their arrays", _of(1, _reversed)),
        ("box-array", "a box of an array that is not there", _of(2, _of_array(9))),
        ("box-type", "a box of another type", _of(2, _of_array(1))),
        ("box-twice", "elements in two boxes", _of(1, _at(0))),
        ("box-missing", "elements in no box", _of(1, _without_last)),
        ("box-out", "a box that sticks out", _of(1, _at(5))),
        ("box-far", "a box beyond all arrays", _of(1, _at(2**63))),
        ("offsets", "an offset too many", _of(1, lambda m: m.boxes.at.append(0))),
        ("own-absent", "a rank without its own values", _of(2, _without_own)),
    ]


def files(edit: Edit) -> dict[str, bytes]:
    """Return a checkpoint of a run ``r``, its parts edited."""
    return ranks.checkpoint(0, {}, edit, run="r")


def _of(rank: int, edit: Edit) -> Edit:
    return lambda message: edit(message) if message.rank == rank else None


def _set(message: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(message, name, value)


def _other_plan(message: Any) -> None:
    message.plan = blake3(b"other").digest()


def _everywhere_wrong(message: Any) -> None:
    _other_plan(message)


def _with_shared(message: Any) -> None:
    message.shared = ranks.shared(1)


def _many(message: Any) -> None:
    message.boxes.array.extend([2] * 9)


def _reversed(message: Any) -> None:
    found = list(message.boxes.array)[::-1]
    del message.boxes.array[:]
    message.boxes.array.extend(found)


def _of_array(number: int) -> Edit:
    def edit(message: Any) -> None:
        message.boxes.array[-1] = number

    return edit


def _at(begin: int) -> Edit:
    def edit(message: Any) -> None:
        message.boxes.at[1] = begin

    return edit


def _without_last(message: Any) -> None:
    """Take the last box's elements away: it has one fewer, and its array lies where it lay."""
    at = sum(message.arrays.ndim[: len(message.boxes.array)]) - 1
    message.arrays.dim[at] -= 1


def _without_own(message: Any) -> None:
    message.tree.CopyFrom(TreeMessage(kind=[1], children=[0]))
    n = len(message.boxes.array)
    for column in ("type_index", "ndim", "chunk", "offset"):
        del getattr(message.arrays, column)[n:]
    del message.arrays.dim[sum(message.arrays.ndim) :]
