"""Removals: who is about to unlist a checkpoint says so, so that nobody names it meanwhile.

A removal is announced before the tags are looked at; a tag is put before the announcements are
looked at. Whichever comes first, one sees the other: either the checkpoint is found to be tagged
and stays, or who tags finds the removal and waits for its end.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from holdfast.errors import ChunkMissing, NoSpace, SealBroken, StoreUnavailable
from holdfast.format.names import RunKeys, checkpoint_of
from holdfast.records.processes import is_alive
from holdfast.records.visible import wait_until_seen
from holdfast.store.contract import ObjectInfo, ObjectStore

# A removal takes moments. One that is older was left behind, on whatever machine.
STALE_S = 600.0
PATIENCE_S = 10.0
_POLL_S = 0.01

_ours: set[str] = set()


@contextmanager
def announced(store: ObjectStore, run: str, checkpoint_ids: Sequence[str]) -> Iterator[None]:
    """Announce the removal of some checkpoints for as long as the block runs."""
    token = uuid.uuid4().hex
    keys = [RunKeys(run).removal(checkpoint_id, token) for checkpoint_id in checkpoint_ids]
    who = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
    _ours.update(keys)
    try:
        # On a full disk only what is removed can make room, even for an announcement.
        with suppress(NoSpace):
            for key in keys:
                # A removal need not outlive its process, so no power cut either.
                store.put_hint(key, who)
                wait_until_seen(store, key)
        yield
    finally:
        _ours.difference_update(keys)
        for key in keys:
            store.delete_hint(key)


def wait_for_end(store: ObjectStore, run: str, checkpoint_id: str) -> None:
    """Wait until nobody is about to remove a checkpoint.

    Raises:
        StoreUnavailable: Somebody still is after ten seconds.
    """
    deadline = time.monotonic() + PATIENCE_S
    while _is_announced(store, run, checkpoint_id):
        if time.monotonic() > deadline:
            raise StoreUnavailable(
                f"Another process has been removing the checkpoint {checkpoint_id[:8]}… of run "
                f"{run!r} for {PATIENCE_S:.0f} s. Nothing was removed by this one; try again.",
                run=run,
                id=checkpoint_id,
            )
        time.sleep(_POLL_S)


def clear_stale(store: ObjectStore, run: str) -> None:
    """Delete the announcements of processes that died, and those that could not be taken away."""
    for info in store.list(RunKeys(run).removals):
        if _is_stale(store, info):
            store.delete_hint(info.key)


def _is_announced(store: ObjectStore, run: str, checkpoint_id: str) -> bool:
    return any(
        checkpoint_of(info.key) == checkpoint_id and not _is_stale(store, info)
        for info in store.list(RunKeys(run).removals)
    )


def _is_stale(store: ObjectStore, info: ObjectInfo) -> bool:
    if time.time() - info.modified_s > STALE_S:
        return True
    try:
        who = json.loads(store.get(info.key))
        pid, host = who["pid"], who["host"]
    except (ChunkMissing, SealBroken, ValueError, KeyError, TypeError):
        # It is visible as a whole only; what is torn has been through a power cut.
        return True
    if host != socket.gethostname():
        return False
    return info.key not in _ours if pid == os.getpid() else not is_alive(pid, host)
