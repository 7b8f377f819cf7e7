"""The small objects of a store: marker, commits, tags, pins. Damage is told, never trusted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import holdfast
from holdfast.errors import (
    ChunkMissing,
    DataError,
    ManifestDamaged,
    NotFound,
    StoreTooNew,
    StoreUnavailable,
    UsageError,
)
from holdfast.format import commit as commit_format
from holdfast.format import envelope
from holdfast.format.names import MARKER_KEY, RunKeys
from holdfast.records import commits, marker, opening, pins, tags
from holdfast.records.commits import DamagedCommit
from holdfast.store.local import LocalStore


@pytest.fixture
def store(store_path: Path) -> LocalStore:
    """A store with three checkpoints of one run."""
    for step in (10, 20, 30):
        holdfast.save(store_path, {"a": np.arange(step)}, run="my run", step=step, rng=False)
    return LocalStore(store_path)


def flip(store: LocalStore, key: str, at: int = -5) -> None:
    data = bytearray(store.get(key))
    data[at] ^= 1
    store.put(key, data)


KEYS = RunKeys("my run")


# --- the marker ---


def test_a_store_is_made_once_and_opened_after(store_path: Path) -> None:
    with pytest.raises(NotFound, match="no store at"):
        opening.open_store(store_path, create=False)
    assert not store_path.exists()
    opening.open_store(store_path, create=True)
    first = (store_path / MARKER_KEY).read_bytes()
    opening.open_store(store_path, create=True)
    opening.open_store(str(store_path), create=False)
    assert (store_path / MARKER_KEY).read_bytes() == first


def test_a_folder_that_is_no_store_is_told_from_one_that_is_not_there(store_path: Path) -> None:
    store_path.mkdir()
    (store_path / "precious.txt").write_text("mine")
    with pytest.raises(NotFound, match="no holdfast store"):
        opening.open_store(store_path, create=False)


def test_a_file_is_no_store(store_path: Path) -> None:
    store_path.write_text("mine")
    for create in (True, False):
        with pytest.raises(StoreUnavailable, match="is a file"):
            opening.open_store(store_path, create=create)
    assert store_path.read_text() == "mine"


@pytest.mark.parametrize("location", ["", "s3://", "file:///x", None, 5, b"x", ["x"]])
def test_locations_that_are_none(location: object) -> None:
    with pytest.raises(UsageError):
        opening.open_store(location, create=True)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        holdfast.Store(location)


def test_a_store_of_a_newer_format_is_not_touched(store: LocalStore) -> None:
    payload = {"format": 2, "id": "x", "created_ns": 1}
    store.put(MARKER_KEY, envelope.wrap(marker.PAYLOAD_TYPE, payload))
    for create in (True, False):
        with pytest.raises(StoreTooNew, match="upgrade holdfast") as caught:
            opening.open_store(store.location, create=create)
        assert (caught.value.found, caught.value.supported) == (2, 1)
    with pytest.raises(StoreTooNew):
        holdfast.save(store.location, {"a": 1}, run="r", step=1)


def test_a_damaged_marker_is_told_and_written_anew(
    store: LocalStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing depends on it: a run that restarts by itself shall not stay dead for it."""
    flip(store, MARKER_KEY)
    assert holdfast.load(store.location, "my run@10")["a"].size == 10
    assert "marker" in caplog.text and "is damaged" in caplog.text
    assert marker.problems(store) != []
    assert holdfast.Store(store.location).doctor().problems != ()
    holdfast.save(store.location, {"a": 1}, run="other", step=1)
    assert marker.problems(store) == []


def test_a_folder_with_a_damaged_marker_and_no_runs_may_be_anything(tmp_path: Path) -> None:
    (tmp_path / MARKER_KEY).write_text("{}")
    for create in (True, False):
        with pytest.raises(ManifestDamaged, match="delete it and save again"):
            opening.open_store(tmp_path, create=create)
    (tmp_path / MARKER_KEY).unlink()
    opening.open_store(tmp_path, create=True)


# --- commits ---


def test_runs_are_listed_by_name(store: LocalStore) -> None:
    for run in ("zeta/1", "..", "\N{SPOUTING WHALE}", "%2F"):
        holdfast.save(store.location, {"a": 1}, run=run, step=1)
    assert commits.runs(store) == sorted(["my run", "zeta/1", "..", "\N{SPOUTING WHALE}", "%2F"])
    assert commits.runs(LocalStore(store.location + "/none")) == []


def test_commits_come_in_order(store: LocalStore) -> None:
    assert commits.sequence_numbers(store, "my run") == [1, 2, 3]
    assert [c.step for c in commits.good_commits(store, "my run")] == [10, 20, 30]
    assert commits.good_commits(store, "none") == []


def test_what_is_no_commit_is_not_taken_for_one(store: LocalStore) -> None:
    store.put(KEYS.commits + "README", b"x")
    store.put(KEYS.commits + ".tmp-1-2-3", b"x")
    store.put(KEYS.commits + "-1", b"x")
    assert commits.sequence_numbers(store, "my run") == [1, 2, 3]


@pytest.mark.parametrize("at", [0, 100, -1])
def test_a_damaged_commit_is_told_as_such(store: LocalStore, at: int) -> None:
    flip(store, KEYS.commit(2), at)
    found = list(commits.all_commits(store, "my run"))
    assert [type(c) is DamagedCommit for c in found] == [False, True, False]
    damaged = found[1]
    assert isinstance(damaged, DamagedCommit)
    assert (damaged.seq, damaged.key) == (2, KEYS.commit(2))
    assert "commit 2 of run 'my run'" in str(damaged.error)
    assert [c.step for c in commits.good_commits(store, "my run")] == [10, 30]


def test_a_commit_copied_over_another_is_found_out(store: LocalStore) -> None:
    store.put(KEYS.commit(2), store.get(KEYS.commit(1)))
    with pytest.raises(ManifestDamaged, match="moved or copied"):
        commits.read_commit(store, "my run", 2)
    store.put(RunKeys("other").commit(1), store.get(KEYS.commit(1)))
    with pytest.raises(ManifestDamaged, match="moved or copied"):
        commits.read_commit(store, "other", 1)


def test_a_commit_that_goes_away_while_they_are_read_is_left_out(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = commits.sequence_numbers

    def numbers(store: LocalStore, run: str) -> list[int]:
        found = real(store, run)
        store.delete([KEYS.commit(2)])
        return found

    monkeypatch.setattr(commits, "sequence_numbers", numbers)
    assert [c.step for c in commits.good_commits(store, "my run")] == [10, 30]


# --- parts ---


def test_a_part_is_checked_against_the_digest_in_its_commit(store: LocalStore) -> None:
    record = commits.read_commit(store, "my run", 2)
    [ref] = record.parts
    assert commits.read_part(store, record, ref).step == 20
    good = store.get(ref.key)
    for at in range(0, len(good), 7):
        flip(store, ref.key, at)
        with pytest.raises(ManifestDamaged, match="digest expected"):
            commits.read_part(store, record, ref)
        store.put(ref.key, good)
    store.put(ref.key, good[:-1])
    with pytest.raises(ManifestDamaged):
        commits.read_part(store, record, ref)
    store.delete([ref.key])
    with pytest.raises(ChunkMissing):
        commits.read_part(store, record, ref)


def test_a_commit_that_names_the_part_of_another_is_found_out(store: LocalStore) -> None:
    from dataclasses import replace

    first, second = (commits.read_commit(store, "my run", seq) for seq in (1, 2))
    forged = replace(first, parts=second.parts)
    with pytest.raises(ManifestDamaged, match="another checkpoint"):
        commits.read_part(store, forged, forged.parts[0])


def test_a_key_that_would_leave_the_store_is_never_read(store: LocalStore) -> None:
    from dataclasses import replace

    record = commits.read_commit(store, "my run", 1)
    outside = Path(store.location).parent / "outside"
    outside.write_bytes(store.get(record.parts[0].key))
    forged = replace(record, parts=(replace(record.parts[0], key="../outside"),))
    store.put(KEYS.commit(1), commit_format.encode(forged))
    with pytest.raises((UsageError, DataError)):
        holdfast.load(store.location, "my run@10")


# --- tags ---


def test_tags_are_listed_by_name(store: LocalStore) -> None:
    names = ["b", "a/b", "..", "best model", "v1.0"]
    for name in names:
        tags.put_tag(store, "my run", name, "0" * 32)
    assert sorted(t.name for t in tags.all_tags(store, "my run")) == sorted(names)
    assert tags.tags_by_checkpoint(store, "my run") == {
        "0" * 32: tuple(t.name for t in tags.all_tags(store, "my run"))
    }
    tags.delete_tag(store, "my run", "a/b")
    assert "a/b" not in [t.name for t in tags.all_tags(store, "my run")]


def test_a_tag_moves(store: LocalStore) -> None:
    tags.put_tag(store, "my run", "final", "0" * 32)
    tags.put_tag(store, "my run", "final", "1" * 32)
    [tag] = tags.all_tags(store, "my run")
    assert (tag.name, tag.checkpoint_id, tag.error) == ("final", "1" * 32, None)


Damage = Callable[[LocalStore], None]


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: flip(s, KEYS.tag("final")),
        lambda s: s.put(KEYS.tag("final"), b""),
        lambda s: s.put(KEYS.tag("final"), s.get(KEYS.tag("other"))),
        lambda s: s.put(KEYS.tag("final"), s.get(KEYS.commit(1))),
        lambda s: s.put(
            KEYS.tag("final"),
            envelope.wrap(tags.PAYLOAD_TYPE, {"run": "my run", "tag": "final"}),
        ),
    ],
    ids=["flipped", "empty", "another tag's", "a commit's", "without an id"],
)
def test_a_damaged_tag_is_told_as_such(store: LocalStore, damage: Damage) -> None:
    for name in ("final", "other"):
        holdfast.Store(store.location).tag("my run@20", name)
    damage(store)
    found = {t.name: t for t in tags.all_tags(store, "my run")}
    assert isinstance(found["final"].error, DataError)
    assert found["other"].error is None
    with pytest.raises(DataError, match="final"):
        holdfast.load(store.location, "my run@final")
    assert holdfast.load(store.location, "my run@other")["a"].size == 20
    assert holdfast.load(store.location, "my run@20")["a"].size == 20


# --- pins ---


def test_pins_tell_what_a_save_builds_on(store: LocalStore) -> None:
    pin = pins.Pin("ab" * 16, ("runs/x/parts/1", "runs/x/parts/2"))
    pins.put_pin(store, "my run", pin)
    assert pins.all_pins(store, "my run") == [pin]
    pins.delete_pin(store, "my run", pin.checkpoint_id)
    pins.delete_pin(store, "my run", pin.checkpoint_id)
    assert pins.all_pins(store, "my run") == []


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"5", json.dumps({"id": "x"}).encode()])
def test_a_torn_pin_still_pins_its_own_save(store: LocalStore, data: bytes) -> None:
    store.put(KEYS.pin("ab" * 16), data)
    assert pins.all_pins(store, "my run") == [pins.Pin("ab" * 16, ())]


def test_no_pin_is_left_after_a_save(store: LocalStore) -> None:
    assert pins.all_pins(store, "my run") == []


@pytest.mark.parametrize("name", ["1", "01", "9999999999999999999999", "\u0661\u0662", "x"])
def test_what_is_named_otherwise_than_commits_are_is_none(tmp_path: Path, name: str) -> None:
    for step in (1, 2):
        holdfast.save(tmp_path, {"step": step}, run="r", step=step, rng=False)
    folder = tmp_path / "runs" / "r" / "commits"
    shutil.copy(folder / "000000000001", folder / name)
    assert [info.step for info in holdfast.Store(tmp_path).log("r")] == [1, 2]
    assert holdfast.save(tmp_path, {"step": 3}, run="r", step=3, rng=False).seq == 3
    assert (folder / name).exists() and holdfast.Store(tmp_path).verify().ok


def test_none_can_follow_the_highest_number(tmp_path: Path) -> None:
    holdfast.save(tmp_path, {"step": 1}, run="r", step=1, rng=False)
    highest = tmp_path / "runs" / "r" / "commits" / str(2**63 - 1)
    highest.write_bytes(b"x")
    with pytest.raises(ManifestDamaged, match=f"{2**63 - 1}.*none can follow.*delete it"):
        holdfast.save(tmp_path, {"step": 2}, run="r", step=2, rng=False)
    assert holdfast.load(tmp_path, "r@latest") == {"step": 1}
    highest.unlink()
    assert holdfast.save(tmp_path, {"step": 2}, run="r", step=2, rng=False).seq == 2
