"""Power cuts: ext4 and XFS shut down at every effect, and right after an operation has returned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from faults.disks import loop_disk
from faults.effort import Effort
from faults.outcomes import Trial
from faults.scenario import Stage, small_packs
from faults.strikes import Place, PowerCut

NAME = "power cuts"


def trials(folder: Path, effort: Effort) -> Iterator[Trial]:
    with small_packs():
        stage = Stage(folder / "stage")
        for kind in ("ext4", "xfs"):
            yield from _trials(stage, folder, kind, effort)


def _trials(stage: Stage, folder: Path, kind: str, effort: Effort) -> Iterator[Trial]:
    with loop_disk(folder / "disks", kind) as disk:

        def restart() -> None:
            disk.unmount()
            disk.mount()

        place = Place(stage, disk.mount_point / "store", settle=disk.sync, recover=restart)
        yield from place.at_every_effect(
            f"power cut, {kind}", lambda at: PowerCut(at, disk.cut_power), every=effort.every
        )
