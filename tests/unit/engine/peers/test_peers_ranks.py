"""Two ranks that save together, each with a store of its own host."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast.engine.peers.peered_store import PeeredStore
from holdfast.engine.run_writer import RunWriter
from holdfast.engine.writer_lock import WriterLock
from holdfast.errors import HoldfastError, RunBusy, SaveFailed
from holdfast.format.names import RunKeys
from holdfast.records import commits
from unit.engine.peers.neighbours import RUN, neighbours
from unit.engine.two_ranks import INCARNATION, part_of, state_of

KEYS = RunKeys(RUN)
Stores = Mapping[str, PeeredStore]


def writer_of(stores: Stores, rank: int) -> RunWriter:
    found = RunWriter(stores["ab"[rank]], RUN, rank=rank, incarnation=INCARNATION, patience_s=60.0)
    # As a writer that has died and is started again, while those of other ranks write.
    found.open(os.getpid(), is_first=False)
    return found


def save(stores: Stores, step: int, odd: dict[str, Any] | None = None) -> list[HoldfastError]:
    """Save on both ranks, on the second one maybe another state; return what went wrong."""
    wrong: list[HoldfastError] = []

    def on(rank: int) -> None:
        writer = writer_of(stores, rank)
        try:
            writer.save(*part_of(rank, step, state=odd if rank else None))
        except HoldfastError as error:
            wrong.append(error)
        finally:
            writer.close()

    threads = [threading.Thread(target=on, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return wrong


def test_each_rank_sees_the_commit_in_its_own_store_and_each_store_has_all(tmp_path: Path) -> None:
    with neighbours(tmp_path, "ab") as stores:
        assert save(stores, 4) == save(stores, 6) == []
        for store in stores.values():
            assert [record.step for record in commits.good_commits(store.local, RUN)] == [4, 6]
            assert (holdfast.load(store.local, f"{RUN}@6")["v"] == state_of(6)["v"]).all()
            assert list(store.local.list(KEYS.pins)) == []


def test_a_rank_that_has_another_state_is_asked_over_the_line_where_it_differs(
    tmp_path: Path,
) -> None:
    with neighbours(tmp_path, "ab") as stores:
        wrong = save(stores, 4, odd=state_of(4) | {"w": np.arange(4000, dtype=np.float32)})
        assert len(wrong) == 2 and all(isinstance(error, SaveFailed) for error in wrong)
        for error in wrong:
            assert (error.facts["path"], error.facts["rank"]) == ("w", 1)
        for store in stores.values():
            assert list(store.local.list(KEYS.commits)) == []
            # Nothing but why; the next sweep takes it away.
            [note] = store.local.list(KEYS.parts)
            assert note.key.endswith("-given-up")
        assert save(stores, 6) == []


def test_ranks_of_another_host_see_that_a_later_training_has_taken_the_run(tmp_path: Path) -> None:
    with neighbours(tmp_path, "ab") as stores:
        writer = writer_of(stores, 1)
        left = writer.write(*part_of(1, 4))
        taken = WriterLock(stores["b"].local, RUN, "3e" * 16)
        taken.acquire(os.getpid(), patience_s=10.0, is_fence=True)
        with pytest.raises(RunBusy, match="took over the run"):
            writer.finish(left)
        taken.release()


def test_a_part_that_only_its_own_host_has_seen_is_told_again(tmp_path: Path) -> None:
    job, source = part_of(1, 4)
    with neighbours(tmp_path, "ab") as stores:
        writer_of(stores, 1).write(job, source)
        # As if its persister had been killed between the two.
        stores["a"].local.delete([KEYS.part(job.id, 1)])
        writer_of(stores, 1).write(job, source)
        assert stores["a"].local.exists(KEYS.part(job.id, 1))
