"""One writer for a run at a time, on one machine: an advisory lock that dies with its holder.

Where the lock does not reach, as between machines that share a folder, or after a lease has run
out, its note is the fence: whoever takes the run writes it anew, and a writer that finds another's
word in it commits nothing any more. So the newer one goes on, and the older one is told.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.errors import HoldfastError, RunBusy
from holdfast.format.names import RunKeys
from holdfast.records.processes import is_alive
from holdfast.store.contract import ObjectStore, StoreLock

_POLL_S = 0.02
_OWN_PATIENCE_S = 2.0
_TENDING_PATIENCE_S = 10.0


class WriterLock:
    """The lock of a run. While it is held, its file tells by whom.

    Args:
        store: Where the run is.
        run: Its name.
        word: What the ranks of a training have in common and no other has; whichever of them holds
            the lock. Empty where there is but one process.
    """

    def __init__(self, store: ObjectStore, run: str, word: str = "") -> None:
        self._store = store
        self._run = run
        self._held: StoreLock | None = None
        self._word = word

    def acquire(self, owner_pid: int, *, patience_s: float, is_fence: bool = False) -> None:
        """Take the lock.

        A holder whose training process lives is a second run of the same name: refused at once.
        One whose training process has died is finishing its last checkpoint: waited for. So is,
        for a moment, one of the same process: a cell of a notebook that is run again makes the
        new one before the old one is gone.

        Args:
            owner_pid: The training process on whose behalf the lock is held.
            patience_s: How long to wait, in seconds, for a holder that is finishing.
            is_fence: Whoever has held it before shall commit nothing any more.

        Raises:
            RunBusy: Somebody else is writing the run.
        """
        if self._held is None:
            self._held = self._store.open_lock(RunKeys(self._run).lock)
        try:
            self._wait(self._held, owner_pid, patience_s)
            facts: dict[str, object] = {
                "owner_pid": owner_pid,
                "writer_pid": os.getpid(),
                "host": socket.gethostname(),
            }
            if is_fence:
                self._word = self._word or uuid.uuid4().hex
                facts["word"] = self._word
            self._write_note(self._held, json.dumps(facts).encode())
        except BaseException:
            # A Ctrl-C too: a process that goes on would hold it for ever.
            self.release()
            raise

    def _wait(self, lock: StoreLock, owner_pid: int, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        own_deadline = time.monotonic() + _OWN_PATIENCE_S
        while not lock.acquire():
            holder = _holder(lock)
            is_own = _is_of(holder, owner_pid)
            refused = is_alive(holder.get("owner_pid"), holder.get("host")) and not is_own
            now = time.monotonic()
            if refused or now > (own_deadline if is_own else deadline):
                raise _busy(self._run, holder, is_own=is_own)
            time.sleep(_POLL_S)

    def _write_note(self, lock: StoreLock, note: bytes) -> None:
        before = lock.note()
        lock.write_note(note)
        # Trouble with it is no error; but where an older one still stands, its word is no fence.
        if self._word and lock.note() == before != note:
            self._word = ""

    def taken_by(self) -> dict[str, object] | None:
        """Return who has taken the run since, as its note says; None if nobody has.

        It is looked at anew, by its name: on another machine it may be another file by now. In
        doubt nobody has: the numbers of commits are a fence too.
        """
        if not self._word:
            return None
        try:
            seen = self._store.open_lock(RunKeys(self._run).lock)
            try:
                holder = _holder(seen)
            finally:
                seen.close()
        except HoldfastError:
            return None
        return holder if holder.get("word", self._word) != self._word else None

    def release(self) -> None:
        """Give the lock back."""
        if self._held is not None:
            self._held.close()
            self._held = None


@contextmanager
def without_writers(store: ObjectStore, run: str) -> Iterator[None]:
    """Keep writers away from a run while it is tended to.

    Raises:
        RunBusy: Somebody is writing it, and still is after ten seconds.
    """
    lock = WriterLock(store, run)
    lock.acquire(os.getpid(), patience_s=_TENDING_PATIENCE_S)
    try:
        yield
    finally:
        lock.release()


def _holder(lock: StoreLock) -> dict[str, object]:
    try:
        found = json.loads(lock.note())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_of(holder: dict[str, object], pid: int) -> bool:
    return (holder.get("owner_pid"), holder.get("host")) == (pid, socket.gethostname())


def _busy(run: str, holder: dict[str, object], *, is_own: bool) -> RunBusy:
    if is_own:
        return RunBusy(
            f"The run {run!r} is being written by this very process, by a Checkpointer that is "
            "open. Nothing was changed. Save with that one, close it first, or give this run "
            "another name.",
            run=run,
            pid=holder.get("owner_pid"),
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
