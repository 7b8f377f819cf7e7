"""Restoring the newest checkpoint that is good."""

from __future__ import annotations

import errno
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_checks import assert_same

import holdfast
from holdfast.errors import (
    ChunkDamaged,
    ChunkMissing,
    ManifestDamaged,
    Mismatch,
    NoGoodCheckpoint,
    StoreTooNew,
    StoreUnavailable,
)
from holdfast.format import commit as commit_format
from holdfast.format.names import RunKeys
from holdfast.records import commits
from holdfast.store.file_reader import FileReader
from holdfast.store.local import LocalStore

KEYS = RunKeys("r")


def state(step: int) -> dict[str, Any]:
    rng = np.random.default_rng(step)
    return {"w": rng.random(60_000), "deep": [rng.random(5), {"n": step}]}


def empty() -> dict[str, Any]:
    return {"w": np.zeros(60_000), "deep": [np.zeros(5), {"n": -1}]}


@pytest.fixture
def store(store_path: Path) -> LocalStore:
    for step in (10, 20, 30):
        holdfast.save(store_path, state(step), run="r", step=step)
    return LocalStore(store_path)


def pack_of(store: LocalStore, seq: int) -> str:
    return KEYS.pack(commits.read_commit(store, "r", seq).id, 0)


def flip(store: LocalStore, key: str, at: int) -> None:
    data = bytearray(store.get(key))
    data[at] ^= 1
    store.put(key, data)


def break_chunk(store: LocalStore, seq: int) -> None:
    flip(store, pack_of(store, seq), 1000)


def break_commit(store: LocalStore, seq: int) -> None:
    flip(store, KEYS.commit(seq), 40)


def break_part(store: LocalStore, seq: int) -> None:
    flip(store, commits.read_commit(store, "r", seq).parts[0].key, 40)


def lose_pack(store: LocalStore, seq: int) -> None:
    store.delete([pack_of(store, seq)])


def lose_part(store: LocalStore, seq: int) -> None:
    store.delete([commits.read_commit(store, "r", seq).parts[0].key])


def cut_pack(store: LocalStore, seq: int) -> None:
    key = pack_of(store, seq)
    store.put(key, store.get(key)[:5000])


DAMAGE = [break_chunk, break_commit, break_part, lose_pack, lose_part, cut_pack]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("in_place", [True, False])
def test_damaged_ones_are_stepped_over_and_named(
    store: LocalStore, damage: Any, in_place: bool, caplog: pytest.LogCaptureFixture
) -> None:
    damage(store, 3)
    damage(store, 2)
    if in_place:
        target = empty()
        result = holdfast.load(store.location, "r@latest", into=target)
        assert_same(target, state(10))
        assert (result.ref, result.step) == ("r@10", 10)
        assert len(result.stepped_over) == 2
        names = ["r@30", "r@20"] if damage is not break_commit else [KEYS.commit(3), KEYS.commit(2)]
        for name, text in zip(names, result.stepped_over, strict=True):
            assert text.startswith(name) and "damaged" in text
    else:
        assert_same(holdfast.load(store.location, "r@latest"), state(10))
    warned = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len([w for w in warned if "stepped over" in w]) == 2


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_asked_for_by_name_is_never_replaced_by_another(
    store: LocalStore, damage: Any
) -> None:
    damage(store, 3)
    target = empty()
    expected = (ChunkDamaged, ChunkMissing, ManifestDamaged, holdfast.errors.NotFound)
    with pytest.raises(expected):
        holdfast.load(store.location, "r@30", into=target)
    assert_same(target, empty())


@pytest.mark.parametrize("damage", DAMAGE)
def test_where_none_is_good_nothing_is_changed_and_all_are_named(
    store: LocalStore, damage: Any
) -> None:
    for seq in (1, 2, 3):
        damage(store, seq)
    target = empty()
    random.seed(1)
    expected = random.random()
    random.seed(1)
    with pytest.raises(NoGoodCheckpoint, match="none of which is good") as caught:
        holdfast.load(store.location, "r@latest", into=target, rng=True)
    assert_same(target, empty())
    assert random.random() == expected
    assert len(caught.value.stepped_over) == 3  # type: ignore[arg-type]
    assert caught.value.exit_code == 1


def test_one_that_does_not_fit_is_not_stepped_over(store: LocalStore) -> None:
    # It is good; an older one that happens to fit would be the wrong one.
    holdfast.save(store.location, {"w": np.zeros(5)}, run="r", step=40)
    target = {"w": np.zeros(60_000)}
    with pytest.raises(Mismatch):
        holdfast.load(store.location, "r@latest", into=target)


def test_one_of_a_newer_format_is_not_stepped_over(store: LocalStore) -> None:
    import json

    from holdfast.format import envelope

    statement = envelope.unwrap(store.get(KEYS.commit(3)), commit_format.PAYLOAD_TYPE, what="x")
    text = json.dumps(statement).replace('"format": 1', '"format": 2')
    store.put(KEYS.commit(3), envelope.wrap(commit_format.PAYLOAD_TYPE, json.loads(text)))
    with pytest.raises(StoreTooNew):
        holdfast.load(store.location, "r@latest")


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_bad_sector_is_damage_but_no_permission_is_not(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    bad, real = pack_of(store, 3), FileReader.__init__

    def open_(self: FileReader, key: str, path: str) -> None:
        if key == bad:
            raise OSError(number, "trouble", path)
        real(self, key, path)

    monkeypatch.setattr(FileReader, "__init__", open_)
    target = empty()
    if number == errno.EIO:
        result = holdfast.load(store.location, "r@latest", into=target)
        assert result.step == 20
        assert_same(target, state(20))
    else:
        with pytest.raises(StoreUnavailable):
            holdfast.load(store.location, "r@latest", into=target)
        assert_same(target, empty())


def test_the_fast_check_and_the_full_one_find_the_same_damage(store: LocalStore) -> None:
    break_chunk(store, 3)
    for verify in ("fast", "full"):
        with pytest.raises(ChunkDamaged, match="'w'"):
            holdfast.load(store.location, "r@30", verify=verify)
        assert_same(holdfast.load(store.location, "r@20", verify=verify), state(20))


def test_generators_come_from_the_checkpoint_that_was_taken(store: LocalStore) -> None:
    random.seed(4)
    holdfast.save(store.location, state(40), run="r", step=40)
    expected = random.random()
    random.seed(5)
    holdfast.save(store.location, state(50), run="r", step=50)
    break_chunk(store, 5)
    holdfast.load(store.location, "r@latest", into=empty(), rng=True)
    assert random.random() == expected
