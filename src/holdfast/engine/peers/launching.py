"""A keeper started as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any, final

from holdfast.engine.handle import error_of_kind
from holdfast.errors import PeersUnavailable

_MAIN = (
    "import sys; sys.path[:] = eval(sys.argv.pop()); "
    "from holdfast.engine.peers.keeper import main; main(sys.argv)"
)


@final
class KeeperProcess:
    """The keeper of this host, which ends once this is closed and nobody needs it any more.

    Args:
        listening: Where others call it.
        told: What it has to know.
    """

    def __init__(self, listening: socket.socket, told: Mapping[str, Any]) -> None:
        path = repr([entry or os.getcwd() for entry in sys.path])
        self._said, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.closing(theirs):
            handed_down = (listening.fileno(), theirs.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, *map(str, handed_down), path],
                pass_fds=handed_down,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._pipe.write(json.dumps(told).encode() + b"\n")
            self._pipe.flush()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_ready(self) -> None:
        """Wait until it answers calls.

        Raises:
            RunBusy: Somebody else writes the run on this host.
            PeersUnavailable: It has ended.
        """
        with self._said.makefile("rb") as lines:
            line = lines.readline()
        if not line:
            raise PeersUnavailable(
                f"The process that keeps other hosts' copies ended at its start (status "
                f"{self._process.wait()}). Its messages are on the standard error of this process."
            )
        said = json.loads(line)
        if said["say"] == "failed":
            raise error_of_kind(said["kind"], said["message"], {})

    def close(self) -> None:
        """Let it end once nobody needs it; does not wait for that."""
        for end in (self._pipe, self._said):
            with contextlib.suppress(OSError):
                end.close()
        # Nobody waits for it here: other ranks may still be at work with it.
        threading.Thread(target=self._process.wait, daemon=True).start()
