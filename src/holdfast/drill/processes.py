"""A command and all processes that come of it: started, waited for, ended."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from holdfast.errors import UsageError

_MARK = "HOLDFAST_DRILL"
_POLL_S = 0.004


class Process:
    """A command that runs, in a session of its own.

    Every process that comes of it is known by a mark in its environment, also those that have
    left the session and outlive it, as a persister does.

    Args:
        command: The program and its arguments.
        folder: Where it is started.
        environment: All of its variables.
        told: A file for all that it prints.
        most_bytes: The largest file that it may write; None: any.

    Raises:
        UsageError: The program cannot be run.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        told: Path,
        most_bytes: int | None = None,
    ) -> None:
        self._mark = uuid.uuid4().hex
        self._told = told

        def bound() -> None:
            if most_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

        with open(told, "wb") as out:
            try:
                self._child = subprocess.Popen(
                    command,
                    cwd=folder,
                    env={**environment, _MARK: self._mark},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=bound if most_bytes is not None else None,
                )
            except OSError as error:
                raise UsageError(
                    f"The command {command[0]!r} cannot be run: {error.strerror}. "
                    "Nothing was drilled.",
                    command=list(command),
                ) from error
        self.began_s = time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether the first process has ended."""
        return self._child.poll() is not None

    @property
    def status(self) -> int:
        """Its exit status; negative for a signal."""
        return self._child.wait()

    def seconds(self) -> float:
        """Return for how long it has been running."""
        return time.monotonic() - self.began_s

    def lines(self) -> list[str]:
        """Return what it has printed."""
        return self._told.read_text(errors="replace").splitlines()

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)

    def kill_all(self) -> None:
        """End everything that came of it, as when the machine dies."""
        self.signal_all(signal.SIGKILL)
        for _ in range(200):
            others = list(self._others())
            for pid in others:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if not others:
                break
            time.sleep(_POLL_S)
        self._child.wait()

    def wait(self, until: Callable[[], bool], limit_s: float) -> bool:
        """Wait until something is so or it has ended; False where that took too long."""
        while not self.ended and not until():
            if self.seconds() > limit_s:
                return False
            time.sleep(_POLL_S)
        return True

    def settle(self, patience_s: float) -> None:
        """Let what outlives it come to its end; then end what is left."""
        deadline_s = time.monotonic() + patience_s
        while any(True for _ in self._others()) and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        self.kill_all()

    def _others(self) -> Iterator[int]:
        """Yield the processes that came of it and live."""
        wanted = f"{_MARK}={self._mark}".encode()
        try:
            names = os.listdir("/proc")
        except FileNotFoundError:
            return
        for name in names:
            if not name.isdigit() or int(name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                with open(f"/proc/{name}/environ", "rb") as file:
                    if wanted not in file.read().split(b"\0"):
                        continue
                yield int(name)
