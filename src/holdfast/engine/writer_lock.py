"""One writer for a run at a time, on one machine: an advisory lock that dies with its holder.

Across machines the numbered commits are the fence: the second to take a number is told.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time

from holdfast.errors import RunBusy
from holdfast.format.names import RunKeys
from holdfast.records.processes import is_alive
from holdfast.store.local import LocalStore

_POLL_S = 0.02


class WriterLock:
    """The lock of a run. While it is held, its file tells by whom."""

    def __init__(self, store: LocalStore, run: str) -> None:
        self._store = store
        self._run = run
        self._fd = -1

    def acquire(self, owner_pid: int, *, patience_s: float) -> None:
        """Take the lock.

        A holder whose training process lives is a second run of the same name: refused at once.
        One whose training process has died is finishing its last checkpoint: waited for.

        Args:
            owner_pid: The training process on whose behalf the lock is held.
            patience_s: How long to wait, in seconds, for a holder that is finishing.

        Raises:
            RunBusy: Somebody else is writing the run.
        """
        key = RunKeys(self._run).lock
        if self._fd < 0:
            self._store.append(key, b"")
            self._fd = self._store.open_lock(key)
        deadline = time.monotonic() + patience_s
        while not self._try():
            holder = self._holder()
            if is_alive(holder.get("owner_pid"), holder.get("host")) or time.monotonic() > deadline:
                os.close(self._fd)
                self._fd = -1
                raise _busy(self._run, holder)
            time.sleep(_POLL_S)
        self._tell(owner_pid)

    def release(self) -> None:
        """Give the lock back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _try(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _holder(self) -> dict[str, object]:
        try:
            found = json.loads(os.pread(self._fd, 4096, 0))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _tell(self, owner_pid: int) -> None:
        facts = {"owner_pid": owner_pid, "writer_pid": os.getpid(), "host": socket.gethostname()}
        # Only told for the sake of who comes second; a full disk is no reason not to go on.
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, json.dumps(facts).encode(), 0)


def _busy(run: str, holder: dict[str, object]) -> RunBusy:
    if (holder.get("owner_pid"), holder.get("host")) == (os.getpid(), socket.gethostname()):
        return RunBusy(
            f"The run {run!r} is being written by this very process, by a Checkpointer that is "
            "open. Nothing was changed. Save with that one, close it first, or give this run "
            "another name.",
            run=run,
            pid=os.getpid(),
            host=holder.get("host"),
        )
    return RunBusy(
        f"The run {run!r} is being written by process {holder.get('owner_pid', 'unknown')} on "
        f"{holder.get('host', 'an unknown host')}. Nothing was changed. Wait for it or stop it, "
        "or give this run another name.",
        run=run,
        pid=holder.get("owner_pid"),
        host=holder.get("host"),
    )
