"""Removals: who is about to unlist a checkpoint says so, so that nobody names it meanwhile.

A removal is announced before the tags are looked at; a tag is put before the removals are looked
at. Whichever comes first, one sees the other: either the checkpoint is found to be tagged and
stays, or who tags finds the removal and waits for its end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from holdfast.errors import StoreUnavailable
from holdfast.format.names import RunKeys, last_component
from holdfast.store.local import LocalStore

# A removal takes moments. One that is older was left behind by a process that died.
STALE_S = 600.0
PATIENCE_S = 10.0
_POLL_S = 0.01


@contextmanager
def announced(store: LocalStore, run: str, checkpoint_ids: Sequence[str]) -> Iterator[None]:
    """Announce the removal of some checkpoints for as long as the block runs."""
    keys = RunKeys(run)
    try:
        for checkpoint_id in checkpoint_ids:
            # A removal need not outlive its process, so no power cut either.
            store.put_hint(keys.removal(checkpoint_id), b"")
        yield
    finally:
        for checkpoint_id in checkpoint_ids:
            store.delete_hint(keys.removal(checkpoint_id))


def wait_for_end(store: LocalStore, run: str, checkpoint_id: str) -> None:
    """Wait until nobody is about to remove a checkpoint.

    Raises:
        StoreUnavailable: Somebody still is after ten seconds.
    """
    deadline = time.monotonic() + PATIENCE_S
    while checkpoint_id in _under_way(store, run):
        if time.monotonic() > deadline:
            raise StoreUnavailable(
                f"Another process has been removing the checkpoint {checkpoint_id[:8]}… of run "
                f"{run!r} for {PATIENCE_S:.0f} s. Nothing was changed; try again.",
                run=run,
                id=checkpoint_id,
            )
        time.sleep(_POLL_S)


def clear_stale(store: LocalStore, run: str) -> None:
    """Delete the announcements of processes that died."""
    living = set(_under_way(store, run))
    for info in store.list(RunKeys(run).removals):
        if last_component(info.key) not in living:
            store.delete_hint(info.key)


def _under_way(store: LocalStore, run: str) -> list[str]:
    now_s = time.time()
    return [
        last_component(info.key)
        for info in store.list(RunKeys(run).removals)
        if now_s - info.modified_s < STALE_S
    ]
