"""Whether a process that left something in a store still lives."""

from __future__ import annotations

import socket

from holdfast.store.running import is_running


def is_alive(pid: object, host: object) -> bool:
    """Say whether a process runs on this machine; of other machines nobody knows, so not."""
    return isinstance(pid, int) and host == socket.gethostname() and is_running(pid)
