"""Disks with room for less than is needed: from nothing to enough, in steps of a block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from faults.disks import MIB, loop_disk, memory_disk
from faults.effort import Effort
from faults.outcomes import Trial
from faults.scenario import OPERATIONS, Stage, small_packs
from faults.strikes import NEVER, Place

NAME = "full disks"
_BLOCK = 4096
_DISK_BYTES = 8 * MIB
# The most that an operation writes is a little less: all of a state, its records, its folders.
_ENOUGH_BLOCKS = 260


def trials(folder: Path, effort: Effort) -> Iterator[Trial]:
    with small_packs():
        stage = Stage(folder / "stage")
        with memory_disk(folder / "memory", _DISK_BYTES) as mount:
            yield from _trials(stage, mount, "full disk, tmpfs", effort)
        with loop_disk(folder / "disks", "ext4") as disk:
            yield from _trials(stage, disk.mount_point, "full disk, ext4", effort)


def _trials(stage: Stage, mount: Path, name: str, effort: Effort) -> Iterator[Trial]:
    ballast = mount / "ballast"
    place = Place(
        stage,
        mount / "store",
        prepare=partial(ballast.unlink, missing_ok=True),
        recover=partial(ballast.unlink, missing_ok=True),
    )
    for operation in OPERATIONS.values():
        for blocks in _room(effort.every):
            place.set_up(operation)
            leave(mount, ballast, blocks * _BLOCK)
            yield place.struck(operation, NEVER, name, f"{blocks} blocks of {_BLOCK} bytes left")


def _room(every: int) -> Iterator[int]:
    """Yield numbers of free blocks: each one where records are written, then wider apart."""
    at = 0
    while at <= _ENOUGH_BLOCKS:
        yield at
        at += every * (1 if at < 16 else 20)


def leave(mount: Path, ballast: Path, nbytes: int) -> None:
    """Fill a disk until there is room for so many bytes more."""
    with open(ballast, "wb", buffering=0) as file:
        size = 1 << 20
        while size >= _BLOCK:
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
            size //= 2
        file.truncate(max(0, file.tell() - nbytes))
        os.fsync(file.fileno())
