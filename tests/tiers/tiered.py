"""What the tests of tiers share: a state, where its copies are, what the journal says."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import holdfast
from holdfast.records import journal
from holdfast.store.local import LocalStore

RUN = "r"
State = dict[str, Any]


def new_state(n: int = 50_000) -> State:
    return {"w": np.zeros(n), "n": {"step": -1}}


def train(state: State, step: int) -> None:
    """Do a step; the state tells which it was in every element."""
    state["w"] += 1
    state["n"]["step"] = step


def assert_is_of(state: State, step: int) -> None:
    assert state["n"]["step"] == step
    assert (state["w"] == step + 1).all()


@dataclass(frozen=True)
class Places:
    """Where the tiers of a test are."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def far(self) -> Path:
        return self.folder / "far"

    @property
    def base(self) -> Path:
        """The folder that takes the place of /dev/shm."""
        return self.folder / "memory"

    @property
    def memory(self) -> Path:
        """The store in memory; there is one."""
        (found,) = self.base.glob("holdfast-*/*")
        return found

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        found = journal.events(LocalStore(self.home), RUN)
        return [event for event in found if event["event"] in kinds]


def steps(path: Path) -> list[int]:
    """The steps of the run in a store; nothing where there is none."""
    store = holdfast.Store(path)
    if not store.place.is_there or RUN not in store.runs():
        return []
    return [info.step for info in store.log(RUN)]


def until(is_so: Callable[[], object], what: str, patience_s: float = 60.0) -> None:
    """Wait for something that another process brings about."""
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def damage(store: Path, step: int) -> None:
    """Flip a bit in the middle of every pack of a checkpoint."""
    (info,) = [info for info in holdfast.Store(store).log(RUN) if info.step == step]
    packs = list((store / "runs" / RUN / "packs").glob(f"{info.id}-*"))
    assert packs
    for path in packs:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
