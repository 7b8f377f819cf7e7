"""A file system that becomes read-only under an operation, at every effect of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from faults.disks import loop_disk
from faults.effort import Effort
from faults.outcomes import Trial
from faults.scenario import OPERATIONS, Stage, small_packs
from faults.strikes import Happening, Place

NAME = "read-only"


def trials(folder: Path, effort: Effort) -> Iterator[Trial]:
    with small_packs(), loop_disk(folder / "disks", "ext4") as disk:
        place = Place(
            Stage(folder / "stage"),
            disk.mount_point / "store",
            recover=partial(disk.remount, read_only=False),
        )
        yield from place.at_every_effect(
            "remounted read-only",
            # Refused while a file is open for writing: then it happens at the next effect.
            lambda at: Happening(at, partial(disk.remount, read_only=True)),
            every=effort.every,
            operations=[name for name in OPERATIONS if name != "restore"],
        )
        restore = OPERATIONS["restore"]
        fault = Happening(0, partial(disk.remount, read_only=True))
        place.set_up(restore)
        disk.remount(read_only=True)
        yield place.struck(restore, fault, "remounted read-only", "before it begins")
