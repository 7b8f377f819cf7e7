"""A script in which signals raise at random moments of saves and restores: STORE SECONDS SEED."""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import holdfast
from holdfast import Checkpointer


class Stop(BaseException):
    """What a handler raises: a limit of time, a scheduler's wish."""


def raise_stop(number: int, frame: object) -> None:
    raise Stop


def shaped(size: int, step: int) -> dict[str, Any]:
    many = {str(i): np.full(3, step) for i in range(400)}
    return {"w": np.full(size, step), "turned": np.full((4, 3), step).T, "many": many}


def values(state: dict[str, Any]) -> set[int]:
    leaves = [state["w"], state["turned"], *state["many"].values()]
    return {int(v) for leaf in leaves for v in np.unique(leaf)}


class Trial:
    def __init__(self, store: Path, dice: random.Random) -> None:
        self.store, self.dice = store, dice
        self.told: Counter[str] = Counter()
        self.number = signal.SIGALRM

    def interrupted(self, work: Callable[[], object], within_s: float) -> bool:
        """Do something; say whether a signal ended it."""
        try:
            signal.setitimer(signal.ITIMER_REAL, max(1e-5, self.dice.random() * within_s))
            work()
            return False
        except Stop:
            return True
        finally:
            # One that comes at this very moment has nothing to end any more.
            with contextlib.suppress(Stop):
                while signal.getitimer(signal.ITIMER_REAL)[0]:
                    signal.setitimer(signal.ITIMER_REAL, 0)

    def saves(self, ckpt: Checkpointer, state: dict[str, Any], step: int) -> None:
        for leaf in (state["w"], state["turned"], *state["many"].values()):
            leaf[...] = step
        if self.dice.random() < 0.2:
            # Another layout, another arena.
            state["w"] = np.full(self.dice.choice([200_000, 900_000, 2_000_000]), step)
        was_stopped = self.interrupted(lambda: ckpt.save(step), 0.02)
        self.told["save stopped" if was_stopped else "saved"] += 1

    def restores(self, ckpt: Checkpointer, state: dict[str, Any]) -> None:
        newest = ckpt_steps(self.store)[-1]
        state["w"] = np.zeros_like(holdfast.load(self.store, f"r@{newest}")["w"])
        for leaf in (state["turned"], *state["many"].values()):
            leaf[...] = 0
        was_stopped = self.interrupted(lambda: ckpt.restore(f"{newest}"), 0.03)
        found = values(state)
        # All or nothing, whatever came.
        assert found in ({0}, {newest}), found
        assert was_stopped or found == {newest}
        self.told["restore stopped" if was_stopped else "restored"] += 1


def ckpt_steps(store: Path) -> list[int]:
    return [info.step for info in holdfast.Store(store).log("r")]


def main() -> None:
    store, seconds, seed = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    signal.signal(signal.SIGALRM, raise_stop)
    trial = Trial(store, random.Random(seed))
    state = shaped(900_000, 0)
    end_s = time.monotonic() + seconds
    with Checkpointer(store, state, run="r", rng=False, in_flight=1 + seed % 2) as ckpt:
        ckpt.save(0).wait()
        step = 0
        while time.monotonic() < end_s:
            step += 1
            trial.saves(ckpt, state, step)
            if step % 5 == 0:
                ckpt._saver.wait()
                trial.restores(ckpt, state)
        ckpt.save(step + 1).wait(60)
    for number in ckpt_steps(store)[:-1]:
        assert values(holdfast.load(store, f"r@{number}", verify="full")) == {number}, number
    print("told", dict(trial.told), flush=True)
    print("done", step, flush=True)


if __name__ == "__main__":
    main()
