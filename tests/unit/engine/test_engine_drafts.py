"""What all ranks had saved when rank 0 was lost is committed by who takes the run next."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.engine import drafts
from holdfast.engine.run_writer import RunWriter
from holdfast.errors import RunBusy
from holdfast.format.names import RunKeys
from holdfast.records import commits, pins
from holdfast.records.opening import open_store
from holdfast.security.authenticity import authenticity
from holdfast.security.signing import new_key_file
from holdfast.store.contract import ObjectStore
from unit.engine.two_ranks import INCARNATION, part_of, state_of, written


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(tmp_path / "ckpts", create=True)


def taken(store: ObjectStore, **facts: Any) -> list[int]:
    """Take the run as a new rank 0 does; return the steps that it has then."""
    writer = RunWriter(store, "r", incarnation="2d" * 16, **facts)
    writer.open(os.getpid())
    writer.close()
    assert list(store.list(RunKeys("r").pins)) == []
    return [record.step for record in commits.good_commits(store, "r")]


def test_it_is_committed_as_it_would_have_been(store: ObjectStore) -> None:
    written(store, 4, epoch=1.5)
    assert taken(store) == [4]
    info = holdfast.Store(store).info("r@latest")
    assert (info.metrics, info.reason, info.epoch) == ({"loss": 0.5}, "every 2 steps", 1.5)
    assert info.state_bytes == 7000 * 8
    assert (holdfast.load(store, "r@4")["v"] == state_of(4)["v"]).all()
    assert holdfast.Store(store).verify().ok
    assert taken(store) == [4]


def test_what_a_rank_had_not_written_is_cleared_away(store: ObjectStore) -> None:
    written(store, 4, ranks=(0,))
    assert taken(store) == []
    assert list(store.list(RunKeys("r").packs)) == []


def test_what_its_own_training_has_written_is_left_to_who_goes_on_with_it(
    store: ObjectStore,
) -> None:
    written(store, 4)
    writer = RunWriter(store, "r", incarnation=INCARNATION)
    writer.open(os.getpid())
    assert commits.good_commits(store, "r") == []
    assert (
        len(list(store.list(RunKeys("r").pins))) == len(list(store.list(RunKeys("r").parts))) == 2
    )
    # Another rank is no more there to be asked.
    job, _ = part_of(0, 4)
    writer.finish(writer.go_on_with(job))
    assert [record.step for record in commits.good_commits(store, "r")] == [4]
    writer.close()


def test_who_has_lost_the_run_takes_nothing_away_that_was_committed_since(
    store: ObjectStore, tmp_path: Path
) -> None:
    older = RunWriter(store, "r", incarnation=INCARNATION)
    older.open(os.getpid())
    left = older.write(*part_of(0, 4))
    RunWriter(store, "r", rank=1, incarnation=INCARNATION).write_part(*part_of(1, 4))
    # As on another machine, where the lock does not reach.
    (tmp_path / "ckpts" / RunKeys("r").lock).unlink()
    assert taken(store) == [4]
    with pytest.raises(RunBusy, match="took over the run"):
        older.finish(left)
    older.close()
    assert (holdfast.load(store, "r@4")["v"] == state_of(4)["v"]).all()
    assert holdfast.Store(store).verify().ok


def test_parts_that_do_not_fit_together_are_cleared_away(store: ObjectStore) -> None:
    written(store, 4)
    job, source = part_of(1, 4, state={**state_of(4), "more": 3})
    RunWriter(store, "r", rank=1, incarnation=INCARNATION).write_part(job, source)
    assert taken(store) == []
    assert list(store.list(RunKeys("r").packs)) == []


def test_what_has_lost_a_pack_is_cleared_away(store: ObjectStore) -> None:
    written(store, 4)
    store.delete([next(iter(store.list(RunKeys("r").packs))).key])
    assert taken(store) == []


def test_what_training_had_gone_past_is_not_brought_back(store: ObjectStore) -> None:
    written(store, 6)
    assert taken(store) == [6]
    written(store, 4)
    assert taken(store) == [6]


def test_a_training_that_began_at_the_newest_is_followed(store: ObjectStore) -> None:
    written(store, 6)
    assert taken(store) == [6]
    newest = commits.good_commits(store, "r")[-1]
    job, _ = part_of(0, 2)
    assert list(drafts.left(store, "r")) == []
    found = replace(job, incarnation="3e" * 16, parent=newest.id)
    assert drafts._follows(found, newest)
    assert not drafts._follows(replace(found, parent=None), newest)


def test_what_would_have_to_be_signed_is_not_committed_by_another(
    store: ObjectStore, tmp_path: Path
) -> None:
    written(store, 4)
    signer = new_key_file(tmp_path / "key")
    assert taken(store, authenticity=authenticity(signer, None)) == []


def test_a_draft_that_says_nonsense_is_passed_over(store: ObjectStore) -> None:
    written(store, 4)
    for draft in ({"id": 3}, {"step": "x"}, {}):
        pins.put_pin(store, "r", pins.Pin(f"{4:032x}", (), 0, INCARNATION, draft))
        assert list(drafts.left(store, "r")) == []


def test_alone_nothing_more_is_said_than_before() -> None:
    assert drafts.draft_of(replace(part_of(0, 4)[0], world_size=1)) is None
    assert drafts.draft_of(part_of(1, 4)[0]) is None
