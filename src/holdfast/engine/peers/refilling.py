"""Copies that are missing after a host was lost are made again, while training goes on."""

from __future__ import annotations

import logging
import threading
from typing import final

from holdfast.engine.peers.peered_store import PeeredStore
from holdfast.errors import HoldfastError
from holdfast.format.commit import CommitRecord, PartRef
from holdfast.records import commits
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")


@final
class Refilling:
    """Looks after the parts of one rank: they shall be on its host, and have their copies.

    Where there are other numbers of ranks than have saved, a rank looks after several parts, or
    none. The newest checkpoint comes first. Each pack is read only where a copy of it is missing.

    Args:
        store: The store that is written; nothing is done in one without peers.
        run: The run.
        rank: Which rank this is.
        world_size: How many there are.
    """

    def __init__(self, store: ObjectStore, run: str, rank: int, world_size: int) -> None:
        self._run = run
        self._rank = rank
        self._world_size = world_size
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        if isinstance(store, PeeredStore):
            self._thread = threading.Thread(target=self._work, args=(store,), daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End it, after the pack that it is at."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self, store: PeeredStore) -> None:
        for record in reversed(commits.good_commits(store, self._run)):
            for ref in record.parts:
                if ref.rank % self._world_size != self._rank:
                    continue
                if self._is_over.is_set():
                    return
                try:
                    self._refill(store, record, ref)
                except HoldfastError as error:
                    # It may have been removed meanwhile; or be gone, which who restores it tells.
                    if commits.is_listed(store, self._run, record.seq, record.id):
                        _log.warning(
                            "%s@%d has fewer copies than it shall have: %s",
                            self._run,
                            record.step,
                            error,
                        )

    def _refill(self, store: PeeredStore, record: CommitRecord, ref: PartRef) -> None:
        part = commits.read_part(store, record, ref)
        for pack in part.packs:
            if self._is_over.is_set():
                return
            if not store.is_here(pack.key):
                store.fetch(pack.key)
        store.give_copies(store.get(ref.key))
