"""Faults at the system calls themselves, by strace, of an operation in a process of its own.

The operation does everything in one thread here: ``strace`` counts for each thread alone, and with
one thread its count reaches every call.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any
from unittest import mock

from faults.children import PATIENCE_S, carried_out
from faults.disks import CannotMake
from faults.outcomes import Ended, Trial
from faults.scenario import COMMITS, OPERATIONS, Operation, carry_out
from faults.strikes import Place, column_of

CHANGING = (
    "openat", "write", "writev", "pwrite64", "ftruncate", "fsync", "mkdir", "rename", "link",
    "unlink",
)  # fmt: skip
READING = ("openat", "read", "pread64", "preadv", "preadv2", "mmap", "getdents64", "newfstatat")
_PATCHED = ("holdfast.chunks.write", "holdfast.chunks.read", "holdfast.chunks.check")
_LINE = re.compile(r"^\d+\s+(\w+)\((.*)")


class Inline(Executor):
    """An executor that does everything at once, in the thread of who asks."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for module in _PATCHED:
            stack.enter_context(mock.patch(f"{module}.ThreadPoolExecutor", Inline))
        yield


def at_every_call(
    place: Place,
    name: str,
    fault: str,
    calls: Sequence[str],
    at_most: int,
    *,
    operations: Iterable[str] = tuple(OPERATIONS),
) -> Iterator[Trial]:
    """Strike operations at each call that they make on their store.

    Args:
        place: Where.
        name: Of the fault.
        fault: What strace makes of a call: ``signal=SIGKILL``, ``error=EIO``.
        calls: Names of the calls to strike.
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


def calls_on_store(
    place: Place, operation: Operation, calls: Sequence[str]
) -> list[tuple[str, int, str]]:
    """Return each call that concerns the store: its name, its number among its like, its line."""
    place.set_up(operation)
    log = place.stage.folder / "strace.log"
    ended = _traced(place, operation, ",".join(calls), False, ("-y", "-o", str(log)))
    assert not ended.told, ended
    numbers: Counter[str] = Counter()
    found = []
    for match in filter(None, map(_LINE.match, log.read_text(errors="replace").splitlines())):
        call, rest = match.groups()
        numbers[call] += 1
        if str(place.store) in rest and (call != "openat" or calls is READING or "O_CREAT" in rest):
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

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        return carried_out(work, may_be_killed=is_deadly, meanwhile=attach)
    finally:
        for tracer in tracers:
            tracer.wait(PATIENCE_S)
