"""Faults at the system calls themselves, by strace, of an operation in a process of its own.

The operation does everything in one thread here: ``strace`` counts for each thread alone, and with
one thread its count reaches every call.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.children import PATIENCE_S, carried_out
from faults.disks import CannotMake
from faults.outcomes import Ended, Trial
from faults.scenario import COMMITS, OPERATIONS, Operation, carry_out
from faults.strikes import Place, column_of
from faults.threads import one_thread


@dataclass(frozen=True, slots=True)
class Calls:
    """System calls to strike.

    Attributes:
        names: Of the calls.
        opening: What an ``openat`` must say to be one of them.
    """

    names: tuple[str, ...]
    opening: str = ""


_WRITING = ("openat", "write", "writev", "pwrite64", "ftruncate", "fsync")
_NAMING = ("mkdir", "rename", "link", "unlink")
CHANGING = Calls((*_WRITING, *_NAMING), opening="O_CREAT")
READING = Calls(
    ("openat", "read", "pread64", "preadv", "preadv2", "mmap", "getdents64", "newfstatat")
)
_LINE = re.compile(r"^\d+\s+(\w+)\((.*)")


def at_every_call(
    place: Place,
    name: str,
    fault: str,
    calls: Calls,
    at_most: int,
    *,
    operations: Iterable[str] = tuple(OPERATIONS),
) -> Iterator[Trial]:
    """Strike operations at each call that they make on their store.

    Args:
        place: Where.
        name: Of the fault.
        fault: What strace makes of a call: ``signal=SIGKILL``, ``error=EIO``.
        calls: What to strike.
        at_most: How many calls of an operation are struck, spread over all.
        operations: Names of the operations.
    """
    if shutil.which("strace") is None:
        raise CannotMake("strace is not installed")
    for operation in (OPERATIONS[each] for each in operations):
        chosen = calls_on_store(place, operation, calls)
        for call, n, path in chosen[:: max(1, len(chosen) // at_most)]:
            injection = f"inject={call}:{fault}:when={n}"
            place.set_up(operation)
            ended = _traced(place, operation, call, "KILL" in fault, ("-e", injection))
            column = column_of(operation, ended)
            if operation.name == "save" and COMMITS in path:
                column = "commit"
            yield place.judged(operation, ended, name, f"{call} number {n}, {path}", column)


def calls_on_store(place: Place, operation: Operation, calls: Calls) -> list[tuple[str, int, str]]:
    """Return each call that concerns the store: its name, its number among its like, its line."""
    place.set_up(operation)
    log = place.stage.folder / "strace.log"
    ended = _traced(place, operation, ",".join(calls.names), False, ("-y", "-o", str(log)))
    assert not ended.told, ended
    numbers: Counter[str] = Counter()
    found = []
    for match in filter(None, map(_LINE.match, log.read_text(errors="replace").splitlines())):
        call, rest = match.groups()
        numbers[call] += 1
        if str(place.store) in rest and (call != "openat" or calls.opening in rest):
            found.append((call, numbers[call], rest[:200]))
    return found


def _traced(
    place: Place, operation: Operation, calls: str, is_deadly: bool, options: Sequence[str]
) -> Ended:
    """Do an operation in a process that strace is attached to before it begins."""
    tracers: list[subprocess.Popen[bytes]] = []

    def work() -> str:
        signal.sigwait({signal.SIGUSR1})
        with one_thread():
            return carry_out(operation, place.store, place.stage.source)

    def attach(pid: int) -> None:
        command = ["strace", "-f", "-qq", "-e", f"trace={calls}", *options, "-p", str(pid)]
        tracers.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        deadline = time.monotonic() + PATIENCE_S
        while "TracerPid:\t0" in Path(f"/proc/{pid}/status").read_text():
            assert time.monotonic() < deadline, "strace does not attach"
            time.sleep(0.001)
        os.kill(pid, signal.SIGUSR1)

    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        return carried_out(work, may_be_killed=is_deadly, meanwhile=attach)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for tracer in tracers:
            tracer.wait(PATIENCE_S)
