"""What is asked of a drill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.drill.store_reading import OpenStore
from holdfast.drill.work_folder import WORLD
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.repository import Store


_MINUTE_S = 60.0


def _plain_store(location: str) -> Store:
    from holdfast.repository import Store

    return Store(location)


@dataclass(frozen=True, slots=True)
class DrillOptions:
    """What is asked of a drill.

    Attributes:
        command: The command of the script. ``{out}`` in it becomes a fresh folder for results,
            ``{world}`` the number of processes.
        folder: The working folder; each run gets its own copy.
        environment: The variables that the script shall see.
        faults: Names of faults; empty: all.
        budget_s: How long all of it may take.
        grace_s: How long the script has to leave after SIGTERM.
        worlds: Numbers of processes: of the undisturbed run, and of a resume.
        seed: Decides the moments.
        leave_out: Patterns of names in the folder that are not copied.
        share: Patterns of names in the folder that are only read; they are linked to.
        repeat: Whether to run it undisturbed twice, to know that it ends the same.
        watch: Whether to look into the script's processes.
        keep: A folder for all runs, that stays; None: a temporary one.
        open_store: Opens a store that the script has made.
    """

    command: tuple[str, ...]
    folder: Path = field(default_factory=Path.cwd)
    environment: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    budget_s: float = 600.0
    grace_s: float = 30.0
    worlds: tuple[int, ...] = ()
    seed: int = 0
    leave_out: tuple[str, ...] = ()
    share: tuple[str, ...] = ()
    repeat: bool = True
    watch: bool = True
    keep: Path | None = None
    open_store: OpenStore = _plain_store

    @property
    def has_world(self) -> bool:
        """Whether the command can be run with another number of processes."""
        return len(self.worlds) > 1 and any(WORLD in argument for argument in self.command)

    def check(self) -> None:
        """Raise UsageError where something makes no sense."""
        if not self.command:
            raise UsageError(
                "There is no command to drill. Say it after two dashes: "
                "holdfast drill -- python train.py."
            )
        for name, value in (("budget", self.budget_s / _MINUTE_S), ("grace", self.grace_s)):
            if not 0.0 < value < float("inf"):
                raise UsageError(f"--{name} is {value:g}; it is above 0.")
        if any(world < 1 for world in self.worlds):
            raise UsageError(f"--world has {self.worlds}; numbers of processes are 1 or more.")
        if any(WORLD in argument for argument in self.command) and not self.worlds:
            raise UsageError("The command has {world}; say how many with --world 2,1.")
