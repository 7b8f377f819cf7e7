"""A script whose second snapshot meets its fate half-way: half_a_snapshot.py STORE FATE.

Large leaves are copied first, and are on their way to the disk, when the last leaf is reached.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from holdfast import Checkpointer
from holdfast.state.numpy_arrays import NumpyAdapter


def main() -> None:
    store, fate = Path(sys.argv[1]), sys.argv[2]
    state = {f"w{i}": np.full(9 << 20, 1, np.uint8) for i in range(12)}
    state["turned"] = np.ones((3, 4)).T
    with Checkpointer(store, state, run="r", rng=False, on_error="warn") as ckpt:
        print("persister", ckpt._saver.client.pid, flush=True)
        ckpt.save(1).wait()
        before = packs(store)
        for value in state.values():
            value[...] = 2
        as_ever = NumpyAdapter.export

        def export(self: NumpyAdapter, value: Any, into: memoryview) -> None:
            while packs(store) == before:
                time.sleep(0.001)
            print("half", flush=True)
            NumpyAdapter.export = as_ever  # type: ignore[method-assign]
            if fate == "trainer":
                os.kill(os.getpid(), signal.SIGKILL)
            elif fate == "persister":
                os.kill(ckpt._saver.client.pid, signal.SIGKILL)
            elif fate == "both":
                os.kill(ckpt._saver.client.pid, signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                raise KeyboardInterrupt
            as_ever(self, value, into)

        NumpyAdapter.export = export  # type: ignore[method-assign]
        try:
            ckpt.save(2).wait()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        for value in state.values():
            value[...] = 3
        ckpt.save(3).wait()
        print("saved", 3, flush=True)


def packs(store: Path) -> set[str]:
    """Return the packs of the run, unfinished ones too."""
    return set(os.listdir(store / "runs" / "r" / "packs"))


if __name__ == "__main__":
    main()
