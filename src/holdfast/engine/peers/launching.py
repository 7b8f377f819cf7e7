"""A keeper started as a process of its own, and another one if it dies."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any, final

from holdfast.engine.handle import error_of_kind
from holdfast.errors import HoldfastError, PeersUnavailable

_log = logging.getLogger("holdfast")

MAX_DEATHS = 3
_MAIN = (
    "import sys; sys.path[:] = eval(sys.argv.pop()); "
    "from holdfast.engine.peers.keeper import main; main(sys.argv)"
)


@final
class KeeperProcess:
    """The keeper of this host, which ends once this is closed and nobody needs it any more.

    Should it die before, another one answers at the same place: who calls meanwhile waits.

    Args:
        listening: Where others call it; this process keeps it open, too.
        told: What it has to know.

    Raises:
        RunBusy: Somebody else writes the run on this host.
        PeersUnavailable: It has ended.
    """

    def __init__(self, listening: socket.socket, told: Mapping[str, Any]) -> None:
        self._listening = listening
        self._told = dict(told)
        self._is_closed = False
        self._lock = threading.Lock()
        try:
            said = self._start(is_first=True)
            _wait_ready(said, self._process)
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._watch, name="holdfast-keeper", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def close(self) -> None:
        """Let it end once nobody needs it; does not wait for that."""
        # Nobody waits for it here: other ranks may still be at work with it.
        with self._lock:
            self._is_closed = True
            self._listening.close()
            with contextlib.suppress(OSError, AttributeError):
                self._pipe.close()

    def _start(self, *, is_first: bool) -> socket.socket:
        """Start it; return where it says how it went."""
        path = repr([entry or os.getcwd() for entry in sys.path])
        said, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.closing(theirs):
            handed_down = (self._listening.fileno(), theirs.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, *map(str, handed_down), path],
                pass_fds=handed_down,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                # A Ctrl-C in the trainer's terminal is not for it.
                start_new_session=True,
            )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            told = {**self._told, "is_first": is_first}
            self._pipe.write(json.dumps(told).encode() + b"\n")
            self._pipe.flush()
        return said

    def _watch(self) -> None:
        """Start another one for as long as this is open."""
        for _ in range(MAX_DEATHS):
            status = self._process.wait()
            with self._lock:
                if self._is_closed:
                    return
                _log.warning(
                    "The process that keeps other hosts' copies ended (status %s); another one is "
                    "started.",
                    status,
                )
                try:
                    said = self._start(is_first=False)
                except OSError as error:
                    _log.error("It could not be started, so that saves will fail: %s", error)
                    return
            try:
                _wait_ready(said, self._process)
            except HoldfastError as error:
                _log.error("It could not be started: %s", error)
        self._process.wait()


def _wait_ready(said: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """Wait until a keeper answers calls, or says why it cannot."""
    with contextlib.closing(said), said.makefile("rb") as lines:
        line = lines.readline()
    if not line:
        raise PeersUnavailable(
            f"The process that keeps other hosts' copies ended at its start (status "
            f"{process.wait()}). Its messages are on the standard error of this process."
        )
    told = json.loads(line)
    if told["say"] == "failed":
        raise error_of_kind(told["kind"], told["message"], {})
