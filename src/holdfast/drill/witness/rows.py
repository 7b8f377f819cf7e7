"""Rows of what was seen, one JSON object a line, written so that a SIGKILL loses none."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .strike import Striker


class Writer:
    """Writes this process's rows into a file of its own; children of it have theirs."""

    striker: Striker

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._fd, self._pid = -1, 0
        self._counts: dict[str, int] = {}

    def write(self, kind: str, **facts: Any) -> None:
        """Write a row; then strike, if that is due.

        Args:
            kind: ``o`` an optimizer's step, ``c`` a step of a ``Checkpointer``, ``r`` a restore,
                ``s`` and ``e`` the begin and the end of a save of PyTorch's.
            **facts: What was seen.
        """
        if self._pid != os.getpid():
            self._begin()
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        rank = os.environ.get("RANK", "0")
        row = {"kind": kind, "n": number, "rank": rank, "t": time.time(), **facts}
        os.write(self._fd, json.dumps(row).encode() + b"\n")
        self.striker.look(kind, number, rank)

    def _begin(self) -> None:
        self._pid, self._counts = os.getpid(), {}
        path = os.path.join(self._folder, f"{time.time_ns():020d}-{self._pid}.jsonl")
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def digest(data: Any) -> str:
    """Return a short digest of bytes."""
    return hashlib.blake2b(data, digest_size=6).hexdigest()
