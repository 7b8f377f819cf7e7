"""Records that are written anew as they are, and those who change or remove them, keep apart.

Whoever seals a record with other keys reads it, and puts it back. If it was removed in between, it
would come back; a tag that was moved would move back. A lock for the moments that either takes is
all it needs; it dies with its holder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.errors import NoSpace, StoreUnavailable
from holdfast.format.names import RunKeys
from holdfast.store.contract import ObjectStore, StoreLock

PATIENCE_S = 10.0
_POLL_S = 0.002


@contextmanager
def alone(store: ObjectStore, run: str) -> Iterator[None]:
    """Change records of a run while nobody else does; for moments, and not one in another.

    Raises:
        StoreUnavailable: Somebody else has been at it for ten seconds.
    """
    lock = _acquired(store, run)
    try:
        yield
    finally:
        if lock is not None:
            lock.close()


def _acquired(store: ObjectStore, run: str) -> StoreLock | None:
    try:
        lock = store.open_lock(RunKeys(run).records_lock)
        is_acquired = lock.acquire()
    except NoSpace:
        # On a full disk only what is removed can make room, even for the lock.
        return None
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_acquired:
        if time.monotonic() > deadline_s:
            lock.close()
            raise StoreUnavailable(
                f"Another process has been changing records of run {run!r} for {PATIENCE_S:.0f} s. "
                "Nothing was changed by this one; try again.",
                run=run,
            )
        time.sleep(_POLL_S)
        is_acquired = lock.acquire()
    return lock
