"""A disk that breaks under an operation: every write fails from then on, or every read too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from faults.disks import SIZES, Disk, drop_caches, run
from faults.effort import Effort
from faults.fuse_disk import GOOD, NO_WRITES, NOTHING, ServedDisk, served_disk
from faults.outcomes import Trial
from faults.scenario import OPERATIONS, Stage, small_packs
from faults.strikes import NEVER, Happening, Place

NAME = "broken disks"
_KIND = "ext4"


def trials(folder: Path, effort: Effort) -> Iterator[Trial]:
    with small_packs(), served_disk(folder / "served", SIZES[_KIND]) as served:
        disk = Disk(served.device, folder / "mount", _KIND)
        run("mkfs.ext4", "-q", served.device)
        place = _place(Stage(folder / "stage"), served, disk)
        disk.mount()
        try:
            yield from place.at_every_effect(
                "disk takes no more writes",
                lambda at: Happening(at, partial(served.be, NO_WRITES)),
                every=effort.every,
            )
            yield from place.at_every_effect(
                "disk answers no more",
                lambda at: Happening(at, partial(served.be, NOTHING)),
                every=effort.every,
            )
            yield _unreadable(place, served)
        finally:
            served.be(GOOD)
            disk.unmount()


def _place(stage: Stage, served: ServedDisk, disk: Disk) -> Place:
    def mend() -> None:
        served.be(GOOD)
        disk.mend()

    def settle() -> None:
        disk.sync()
        drop_caches(disk.mount_point)

    return Place(stage, disk.mount_point / "store", settle=settle, recover=mend)


def _unreadable(place: Place, served: ServedDisk) -> Trial:
    restore = OPERATIONS["restore"]
    place.set_up(restore)
    served.be(NOTHING)
    return place.struck(restore, NEVER, "disk answers no more", "before it begins")
