"""EIO and ENOSPC from every effect and every system call, once or from then on."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from faults.effort import Effort
from faults.outcomes import Trial
from faults.scenario import Stage, small_packs
from faults.strikes import Place
from faults.tracing import CHANGING, READING, at_every_call
from holdfast.testing.effects import Strike

NAME = "calls that fail"
_ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC}


def trials(folder: Path, effort: Effort) -> Iterator[Trial]:
    with small_packs():
        place = Place(Stage(folder / "stage"), folder / "store")
        for name, number in _ERRORS.items():
            for lasting, how in ((False, "from one effect"), (True, "from each effect on")):
                yield from place.at_every_effect(
                    f"{name} {how}",
                    partial(Strike, error=number, lasting=lasting),
                    every=effort.every,
                )
        for name in _ERRORS:
            yield from at_every_call(
                place, f"{name} from each system call", f"error={name}", CHANGING, effort.calls
            )
        yield from at_every_call(
            place,
            "EIO from each system call",
            "error=EIO",
            READING,
            effort.calls,
            operations=("restore",),
        )
