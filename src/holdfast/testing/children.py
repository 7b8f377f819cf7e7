"""Work done in another process: a function in a forked one, or a command."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from holdfast.records.processes import is_alive

# A function, or a command and its arguments.
Work = Callable[[], object] | Sequence[str | os.PathLike[str]]

TROUBLE = 99


def in_child(work: Callable[[], object], told: Path) -> tuple[int, str]:
    """Do work in a forked process; return its exit status, negative for a signal, and its trouble.

    Args:
        work: What to do.
        told: A file for the traceback of what it raises.
    """
    told.write_text("")
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            told.write_text(traceback.format_exc())
        finally:
            os._exit(TROUBLE)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), told.read_text()


def by_command(
    command: Sequence[str | os.PathLike[str]],
    told: Path,
    environment: Mapping[str, str],
    timeout_s: float,
) -> tuple[int, str]:
    """Run a command; return its exit status, negative for a signal, and all that it prints.

    Args:
        command: The program and its arguments.
        told: A file for what it prints.
        environment: Variables that are added to this process's.
        timeout_s: How long it may take.

    Raises:
        subprocess.TimeoutExpired: It took longer, and was killed.
    """
    # A file, not a pipe: a persister that outlives the command would hold that open.
    with open(told, "wb") as out:
        child = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            status = child.wait(timeout_s)
        finally:
            child.kill()
            child.wait()
    return status, told.read_text(errors="replace")


def wait_gone(pids: Iterable[int], timeout_s: float) -> None:
    """Wait for the end of processes that may be no children of ours.

    Raises:
        TimeoutError: One of them does not end.
    """
    deadline_s = time.monotonic() + timeout_s
    for pid in pids:
        while is_alive(pid, socket.gethostname()):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"Process {pid} has not ended after {timeout_s} s.")
            time.sleep(0.005)
