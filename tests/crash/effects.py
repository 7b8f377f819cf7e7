"""Faults at the effects that this process has on a folder: the calls that change something there.

Effects are counted over all threads. ``strace`` does the same to the system calls themselves, but
counts for each thread alone and needs a new process for each fault; this is a hundred times faster.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATHS = ("mkdir", "rmdir", "rename", "link", "unlink")
FDS = ("write", "writev", "pwrite", "ftruncate", "fsync")


class Fault:
    """What happens at the effect with a certain number, from 0: an error, or the end."""

    def __init__(self, at: int, *, error: int = 0, kill: str = "", lasting: bool = False) -> None:
        self.at = at
        self.error = error
        # "before" the effect, "after" it, or "within": half of what is written is.
        self.kill = kill
        self.lasting = lasting

    def strikes(self, number: int) -> bool:
        return number == self.at or (self.lasting and number > self.at)


class Effects:
    """Puts itself between the ``os`` module and who calls it, until ``close``."""

    def __init__(self, folder: str, fault: Fault | None = None) -> None:
        self._folder = os.path.realpath(folder)
        self._fault = fault
        self._lock = threading.RLock()
        self.names: list[str] = []
        self._real = {name: getattr(os, name) for name in (*PATHS, *FDS, "open")}
        for name in PATHS:
            setattr(os, name, self._wrapped(name, self._by_path))
        for name in FDS:
            setattr(os, name, self._wrapped(name, self._by_fd))
        os.open = self._wrapped("open", self._by_flags)

    def close(self) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    def _wrapped(self, name: str, concerns: Callable[..., bool]) -> Callable[..., Any]:
        real = self._real[name]

        def call(*args: Any, **kwargs: Any) -> Any:
            if not concerns(*args):
                return real(*args, **kwargs)
            with self._lock:
                number = len(self.names)
                self.names.append(name)
                fault = self._fault
                if fault is None or not fault.strikes(number):
                    return real(*args, **kwargs)
                if fault.error:
                    raise OSError(fault.error, os.strerror(fault.error), "injected")
                if fault.kill == "after":
                    real(*args, **kwargs)
                elif fault.kill == "within" and name in ("write", "writev", "pwrite"):
                    real(*_half(*args))
                os.kill(os.getpid(), signal.SIGKILL)
                return None

        return call

    def _by_path(self, path: Any, *_: Any) -> bool:
        return os.path.abspath(os.fspath(path)).startswith(self._folder)

    def _by_fd(self, fd: int, *_: Any) -> bool:
        return os.readlink(f"/proc/self/fd/{fd}").startswith(self._folder)

    def _by_flags(self, path: Any, flags: int, *_: Any) -> bool:
        return bool(flags & os.O_CREAT) and self._by_path(path)


def _half(fd: int, data: Any, *rest: Any) -> tuple[Any, ...]:
    whole = b"".join(data) if isinstance(data, list) else bytes(data)
    half = whole[: len(whole) // 2]
    return (fd, [half] if isinstance(data, list) else half, *rest)


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
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), told.read_text()


FULL, BROKEN = errno.ENOSPC, errno.EIO
