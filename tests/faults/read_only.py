"""A file system that turns read-only under an operation: what ext4 does when it finds an error.

A remount would be refused for as long as a file is open for writing, the lock of the run for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from faults.disks import CannotMake, Disk, loop_disk
from faults.effort import Effort
from faults.outcomes import Trial
from faults.scenario import OPERATIONS, Stage, small_packs
from faults.strikes import NEVER, Happening, Place

NAME = "read-only"
_FAULT = "file system turns read-only"


def trials(folder: Path, effort: Effort) -> Iterator[Trial]:
    with small_packs(), loop_disk(folder / "disks", "ext4", "errors=remount-ro") as disk:
        place = _place(Stage(folder / "stage"), disk)
        yield from place.at_every_effect(
            _FAULT, lambda at: Happening(at, disk.turn_read_only), every=effort.every
        )
        restore = OPERATIONS["restore"]
        place.set_up(restore)
        disk.turn_read_only()
        yield place.struck(restore, NEVER, _FAULT, "before it begins")


def _place(stage: Stage, disk: Disk) -> Place:
    store = disk.mount_point / "store"

    def settle() -> None:
        disk.sync()
        if not disk.can_turn_read_only:
            raise CannotMake("this kernel does not let errors of ext4 be triggered")

    return Place(stage, store, settle=settle, recover=disk.mend)
