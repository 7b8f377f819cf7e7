"""A script that forks while a run is open: STORE. What came of the children is told."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from holdfast import Checkpointer, on
from holdfast.engine.handle import SaveHandle
from holdfast.errors import UsageError


def child(do: Callable[[], object]) -> int:
    """Return how a forked child ended that does something, or is ended after ten seconds."""
    pid = os.fork()
    if pid == 0:
        do()
        os._exit(0)
    return ended(pid)


def ended(pid: int) -> int:
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise SystemExit(f"the child {pid} hangs")


def leave_with_an_error(ckpt: Checkpointer, state: dict[str, np.ndarray]) -> None:
    state["w"][:] = 7
    ckpt.__exit__(ValueError, ValueError("the child's"), None)


def sleep_and_be_asked_to_leave() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)


def wait_for_the_parents(handle: SaveHandle) -> None:
    try:
        handle.wait()
    except UsageError as error:
        os.write(1, f"waiting {error}\n".encode())


def main(store: Path) -> None:
    state = {"w": np.zeros(1000)}
    with Checkpointer(store, state, run="r", save=on.signal() | on.exception()) as ckpt:
        ckpt.step(0)
        print("error", child(lambda: leave_with_an_error(ckpt, state)))
        print("signal", child(sleep_and_be_asked_to_leave))
        ckpt.step(1)
        # One that is under way for as long as the child looks.
        pending = SaveHandle(1, "id")
        print("handle", child(lambda: wait_for_the_parents(pending)))
        ckpt.save(1).wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
