"""The effects that processes have on a folder, counted, and struck by a fault.

An effect is a call that changes something below the folder: it makes, writes, syncs, renames,
links or removes. Effects are counted over all threads of a process, and over all processes that
share a log. ``strace`` does the same to the system calls themselves, but counts for each thread
alone; this is a hundred times faster. Linux only, as it asks ``/proc`` what a descriptor is of.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

PATHS = ("mkdir", "rmdir", "rename", "link", "unlink")
FDS = ("write", "writev", "pwrite", "ftruncate", "fsync")
WRITES = ("write", "writev", "pwrite")

Moment = Literal["before", "within", "after"]

# Equally long lines: the place of one is its number.
_NAME_BYTES = 15

# As they were before anybody put itself between.
_REAL: Mapping[str, Callable[..., Any]] = {n: getattr(os, n) for n in (*PATHS, *FDS, "open")}


@dataclass(frozen=True, slots=True)
class Strike:
    """What happens at an effect: an error, or the end of the process.

    Attributes:
        at: The number of the effect, from 0.
        kill: SIGKILL before the effect, after it, or within: half of what is written is.
        error: An ``errno`` that the call fails with, where nobody is killed.
        lasting: Every effect from there on fails.
        everyone: All processes of the log are killed, as when a machine dies.
    """

    at: int
    kill: Moment | None = None
    error: int = 0
    lasting: bool = False
    everyone: bool = False

    def hits(self, number: int) -> bool:
        """Say whether the effect of that number is struck."""
        return number == self.at or (self.lasting and number > self.at)


class EffectLog:
    """A file in which processes note their effects, so that all of them count together.

    Args:
        path: The file; who takes part is noted in a second one beside it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._members = f"{path}.pids"

    def join(self) -> None:
        """Note that this process takes part."""
        _append(self._members, f"{os.getpid()}\n".encode())

    def note(self, effect: str) -> int:
        """Note an effect; return its number."""
        return _append(self._path, effect.encode().ljust(_NAME_BYTES) + b"\n") // (_NAME_BYTES + 1)

    def effects(self) -> list[str]:
        """Return the names of all effects, in order."""
        return [line.strip() for line in _lines(self._path)]

    def pids(self) -> set[int]:
        """Return the processes that took part."""
        return {int(line) for line in _lines(self._members)}


def _append(path: str, data: bytes) -> int:
    """Add to a file; return where."""
    fd = _REAL["open"](path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        begin = os.fstat(fd).st_size
        _REAL["write"](fd, data)
        return begin
    finally:
        os.close(fd)


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.readlines()
    except FileNotFoundError:
        return []


class Effects:
    """Puts itself between the ``os`` module and who calls it, until ``close``.

    Args:
        folder: What counts are effects on what is below it.
        log: Where they are noted.
        strike: What shall happen at one of them.
    """

    def __init__(self, folder: str, log: EffectLog, strike: Strike | None = None) -> None:
        # As callers write it, and as the system does.
        self._folders = {os.path.abspath(folder), os.path.realpath(folder)}
        self._log, self._strike = log, strike
        self._lock = threading.RLock()
        log.join()
        for names, concerns in ((PATHS, self._by_path), (FDS, self._by_fd)):
            for name in names:
                setattr(os, name, self._wrapped(name, concerns))
        os.open = self._wrapped("open", self._by_flags)

    def close(self) -> None:
        """Let calls go through as before."""
        for name, real in _REAL.items():
            setattr(os, name, real)

    def _wrapped(self, name: str, concerns: Callable[..., bool]) -> Callable[..., Any]:
        real = _REAL[name]

        def call(*args: Any, **kwargs: Any) -> Any:
            if not concerns(*args):
                return real(*args, **kwargs)
            with self._lock:
                number = self._log.note(name)
                strike = self._strike
                if strike is None or not strike.hits(number):
                    return real(*args, **kwargs)
                if strike.kill is None:
                    raise OSError(strike.error, os.strerror(strike.error), "injected")
                try:
                    if strike.kill == "after":
                        real(*args, **kwargs)
                    elif strike.kill == "within" and name in WRITES:
                        real(*_half(*args))
                finally:
                    # Also where the call fails, as that of who makes a folder second.
                    self._kill(strike.everyone)
                return None

        return call

    def _kill(self, everyone: bool) -> None:
        others = self._log.pids() - {os.getpid()} if everyone else set()
        for pid in (*others, os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _by_path(self, path: Any, *_: Any) -> bool:
        where = os.path.abspath(os.fspath(path))
        return any(where == folder or where.startswith(folder + os.sep) for folder in self._folders)

    def _by_fd(self, fd: int, *_: Any) -> bool:
        return self._by_path(os.readlink(f"/proc/self/fd/{fd}"))

    def _by_flags(self, path: Any, flags: int, *_: Any) -> bool:
        return bool(flags & os.O_CREAT) and self._by_path(path)


def attach(folder: str, log: str, strike: Mapping[str, Any] | None) -> None:
    """Count the effects of this process for the rest of its life."""
    Effects(folder, EffectLog(log), Strike(**strike) if strike is not None else None)


def _half(fd: int, data: Any, *rest: Any) -> tuple[Any, ...]:
    whole = b"".join(data) if isinstance(data, list) else bytes(data)
    half = whole[: len(whole) // 2]
    return (fd, [half] if isinstance(data, list) else half, *rest)
