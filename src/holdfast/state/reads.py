"""The arrays that a restore reads, and what to do where their places overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.errors import RestoreIncomplete
from holdfast.format import casting
from holdfast.format.boxes import Box
from holdfast.state import narrowing
from holdfast.state.arrays import SavedArray

# Gives a value, or puts it into place, once what it is made of is read.
Thunk = Callable[[], Any]


@dataclass(slots=True)
class Read:
    """An array to be read: its row, and the bytes where it goes.

    ``in_place`` says that the bytes are those of an object that stands and must not change
    unless everything is found good. ``box`` is the part of it that is wanted; None: all.
    """

    row: int
    into: memoryview
    in_place: bool
    path: str
    address: int = 0
    box: Box | None = None


def stage_casts(reads: Sequence[Read], rows: Sequence[SavedArray]) -> Callable[[], None]:
    """Let arrays that are stored in fewer bits than they had be read elsewhere first.

    Returns:
        A function that puts them into their places as they were, once everything is read and good.
    """
    late: list[tuple[memoryview, str, memoryview, str]] = []
    for read in reads:
        dtype, cast_from = rows[read.row].dtype, rows[read.row].cast_from
        if cast_from:
            staging = memoryview(
                bytearray(casting.stored_bytes(read.into.nbytes, dtype, cast_from))
            )
            late.append((staging, dtype, read.into, cast_from))
            read.into, read.in_place = staging, False

    def put() -> None:
        for staging, dtype, into, cast_from in late:
            narrowing.widen(staging, dtype, into, cast_from)

    return put


def stage_overlaps(reads: Sequence[Read]) -> Callable[[], None]:
    """Let arrays that lie in the memory of others be read elsewhere first.

    Returns:
        A function that compares them with their places, once everything is read and good, and
        puts there what lies behind the others' memory.
    """
    late: list[tuple[memoryview, memoryview, int]] = []
    end = 0
    standing = [read for read in reads if read.in_place]
    for read in sorted(standing, key=lambda r: (r.address, -r.into.nbytes)):
        if read.address < end:
            staging = memoryview(bytearray(read.into.nbytes))
            late.append((read.into, staging, min(end - read.address, len(staging))))
            read.into, read.in_place = staging, False
        end = max(end, read.address + read.into.nbytes)

    def compare() -> None:
        # By rising address: what one shares is there, once those before it are.
        for place, data, shared in late:
            # Who shares memory was saved with the same bytes, or both cannot be had.
            if place[:shared] != data[:shared]:
                raise RestoreIncomplete(
                    "Leaves that share memory here were saved with different values. Some "
                    "tensors have the checkpoint's values: do not go on with this state. Untie "
                    "them, or leave one out with skip=, and restore again."
                )
            place[shared:] = data[shared:]

    return compare
