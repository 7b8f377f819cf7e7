"""A signal that a process sends itself at a step, or in the middle of a save: no step too late."""

from __future__ import annotations

import glob
import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

_PATIENCE_S = 20.0


class Striker:
    """Strikes once, at a row.

    Args:
        plan: ``kind`` and ``row``, the row at which it strikes; ``signal``; ``delay_s``, how long
            the process works on meanwhile; ``everyone``, whether all of its process group are
            struck; ``wait_for``, patterns of files of which one must be there first; ``done``, a
            file that tells that it has struck. None: it never strikes.
    """

    def __init__(self, plan: Mapping[str, Any] | None) -> None:
        self._plan = plan

    def look(self, kind: str, number: int, rank: str) -> None:
        """Strike if this row is the one."""
        plan = self._plan
        if plan is None or rank != "0" or (kind, number) != (plan["kind"], plan["row"]):
            return
        self._plan = None
        if not _there(plan["wait_for"]):
            return
        if plan["delay_s"] <= 0.0:
            _strike(plan)
        else:
            threading.Thread(target=_strike_later, args=(plan,), daemon=True).start()


def _there(patterns: list[str]) -> bool:
    """Wait until something has been saved: a run that is killed before that has to begin anew."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while patterns and not any(glob.glob(p, recursive=True) for p in patterns):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.002)
    return True


def _strike_later(plan: Mapping[str, Any]) -> None:
    until_s = time.perf_counter() + plan["delay_s"]
    while time.perf_counter() < until_s:
        time.sleep(0.0)
    _strike(plan)


def _strike(plan: Mapping[str, Any]) -> None:
    with open(plan["done"], "w") as file:
        file.write(str(time.time()))
    number = signal.Signals(plan["signal"])
    if plan["everyone"]:
        os.killpg(os.getpgrp(), number)
    else:
        os.kill(os.getpid(), number)
