"""Whether a process that left something in a store still lives."""

from __future__ import annotations

import os
import socket


def is_alive(pid: object, host: object) -> bool:
    """Say whether a process runs on this machine; of other machines nobody knows, so not."""
    if not isinstance(pid, int) or host != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except (OSError, IndexError):
        return False
