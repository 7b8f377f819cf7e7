"""SIGKILL at every effect, and at every system call that writes, syncs or names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from faults.effort import Effort
from faults.outcomes import Trial
from faults.scenario import Stage, small_packs
from faults.strikes import Place
from faults.tracing import CHANGING, READING, at_every_call
from holdfast.testing.effects import WRITES, Strike

NAME = "SIGKILL"


def trials(folder: Path, effort: Effort) -> Iterator[Trial]:
    with small_packs():
        place = Place(Stage(folder / "stage"), folder / "store")
        yield from place.at_every_effect(
            "SIGKILL before each effect", partial(Strike, kill="before"), every=effort.every
        )
        yield from place.at_every_effect(
            "SIGKILL in the middle of a write",
            partial(Strike, kill="within"),
            only=WRITES,
            every=effort.every,
        )
        yield from at_every_call(
            place, "SIGKILL at each system call", "signal=SIGKILL", CHANGING, effort.calls
        )
        yield from at_every_call(
            place,
            "SIGKILL at each system call",
            "signal=SIGKILL",
            READING,
            effort.calls,
            operations=("restore",),
        )
