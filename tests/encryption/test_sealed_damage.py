"""What was changed, moved, brought back or cut short in an encrypted store is refused."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sealed_stores import RUN, files, fill, flip, loads, only

import holdfast
from holdfast import Checkpointer
from holdfast.errors import DataError, HoldfastError, ManifestDamaged, SealBroken
from holdfast.records import commits, journal, tags
from holdfast.security.keys import Identity

# Bits of every file that are flipped, one at a time.
SAMPLES = 400 if os.environ.get("HOLDFAST_FAULTS") == "full" else 3


@pytest.fixture
def store(tmp_path: Path, me: Identity) -> holdfast.Store:
    return fill(tmp_path / "store", me, runs=(RUN, "other"))


def run_folder(store: holdfast.Store, run: str) -> Path:
    """Return the folder of a run, whose name does not tell whose it is."""
    key = store.place.open()._stored(f"runs/{run}/x")  # type: ignore[attr-defined]
    return Path(store.path, key).parent


def refused_or_right(store: holdfast.Store) -> bool:
    """Load by step, tag and as the latest; say whether anything was refused."""
    refused = False
    for ref in (f"{RUN}@1", f"{RUN}@2", f"{RUN}@good", f"{RUN}@latest"):
        for check in ("fast", "full"):
            try:
                assert loads(store, ref, verify=check), f"{ref} is not what was saved"
            except HoldfastError:
                refused = True
    return refused


def test_no_flipped_bit_passes_for_what_was_saved(tmp_path: Path, me: Identity) -> None:
    store, rng = fill(tmp_path / "store", me), random.Random(0)
    refused: dict[str, int] = {}
    for path in files(Path(store.path)):
        data = path.read_bytes()
        kind = path.parent.name if path.parent.name in ("commits", "parts", "packs") else path.name
        for _ in range(SAMPLES if data else 0):
            flip(path, rng.randrange(len(data)), rng.randrange(8))
            refused[kind] = refused.get(kind, 0) + refused_or_right(store)
            path.write_bytes(data)
    # Those that are needed are refused whatever bit it is; padding of packs is nobody's.
    assert refused["parts"] == refused["commits"] > 0 and refused["packs"] > 0
    assert not refused_or_right(store)


def test_no_truncated_object_passes_for_what_was_saved(store: holdfast.Store) -> None:
    folder = run_folder(store, RUN)
    for pattern in ("commits/*1", "commits/*2", "parts/*", "packs/*", "tags/*"):
        for path in folder.glob(pattern):
            data = path.read_bytes()
            for length in (0, 1, 35, len(data) // 2, len(data) - 1 - 4096 * (pattern == "packs/*")):
                path.write_bytes(data[:length])
                assert refused_or_right(store), f"{path.name} cut to {length}"
            path.write_bytes(data)
    assert not refused_or_right(store)


Swap = Callable[[Path, Path, Path], tuple[Path, Path]]
SWAPS: dict[str, Swap] = {
    "commits of a run": lambda run, _, __: (only(run, "commits/*1"), only(run, "commits/*2")),
    "commits of two runs": lambda run, other, _: (
        only(run, "commits/*2"),
        only(other, "commits/*2"),
    ),
    "commits of two stores": lambda run, _, elsewhere: (
        only(run, "commits/*2"),
        only(elsewhere, "commits/*2"),
    ),
    "parts": lambda run, _, __: (sorted(run.glob("parts/*"))[0], sorted(run.glob("parts/*"))[1]),
    "packs": lambda run, _, __: (sorted(run.glob("packs/*"))[0], sorted(run.glob("packs/*"))[1]),
    "packs of two stores": lambda run, _, elsewhere: (
        sorted(run.glob("packs/*"))[0],
        sorted(elsewhere.glob("packs/*"))[0],
    ),
    "tags of two runs": lambda run, other, _: (only(run, "tags/*"), only(other, "tags/*")),
    "a tag and a commit": lambda run, _, __: (only(run, "tags/*"), only(run, "commits/*2")),
}


@pytest.mark.parametrize("what", SWAPS)
def test_objects_that_change_places_are_refused(
    what: str, store: holdfast.Store, tmp_path: Path, ada: Identity
) -> None:
    elsewhere = fill(tmp_path / "elsewhere", ada)
    folders = run_folder(store, RUN), run_folder(store, "other"), run_folder(elsewhere, RUN)
    one, other = SWAPS[what](*folders)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert refused_or_right(store)
    assert not store.verify().ok
    one.write_bytes(first)
    other.write_bytes(second)
    assert not refused_or_right(store) and store.verify().ok


def test_chunks_that_change_places_in_a_pack_are_refused(store: holdfast.Store) -> None:
    objects = store.place.open()
    record = commits.read_commit(objects, RUN, 1)
    part = commits.read_part(objects, record, record.parts[0])
    one, other = [row for row in part.chunks if row.length == 320 << 10][:2]
    pack = only(run_folder(store, RUN), f"packs/{record.id}-00000")
    data = bytearray(pack.read_bytes())
    length = one.length + 32
    first, second = (bytes(data[at : at + length]) for at in (one.offset, other.offset))
    data[one.offset : one.offset + length] = second
    data[other.offset : other.offset + length] = first
    pack.write_bytes(data)
    for check in ("fast", "full"):
        with pytest.raises(DataError, match="does not open"):
            holdfast.load(store, f"{RUN}@1", verify=check)


def test_a_run_cannot_be_passed_off_as_another(store: holdfast.Store) -> None:
    run, other = run_folder(store, RUN), run_folder(store, "other")
    shutil.rmtree(run)
    shutil.copytree(other, run)
    for ref in (f"{RUN}@2", f"{RUN}@good"):
        with pytest.raises(HoldfastError):
            holdfast.load(store, ref)
    assert not store.verify().ok


def test_what_was_there_before_a_re_encryption_is_refused_after_it(store: holdfast.Store) -> None:
    before = {path: path.read_bytes() for path in files(Path(store.path)) if "runs" in path.parts}
    store.keys.rotate()
    assert store.keys.reencrypt().retired == [1]
    assert not refused_or_right(store)
    for pattern in ("commits/*2", "parts/*", "packs/*", "tags/*"):
        for path in run_folder(store, RUN).glob(pattern):
            now = path.read_bytes()
            path.write_bytes(before[path])
            assert refused_or_right(store), path.name
            path.write_bytes(now)


def test_the_keyring_of_another_store_does_not_open_this_one(
    store: holdfast.Store, tmp_path: Path, me: Identity
) -> None:
    """Made by the same person, so that it opens; what was sealed with the first does not."""
    elsewhere = fill(tmp_path / "elsewhere", me)
    for source in Path(elsewhere.path).glob("keys/*/*"):
        for target in Path(store.path).glob(f"keys/*/{source.name}"):
            shutil.copy(source, target)
    with pytest.raises(HoldfastError):
        store.log(RUN)


def test_lines_of_a_journal_do_not_move(store: holdfast.Store) -> None:
    objects = store.place.open()
    for run in (RUN, "other"):
        journal.record(objects, run, "saved", of=run)
    theirs = run_folder(store, "other") / "events.jsonl"
    ours = run_folder(store, RUN) / "events.jsonl"
    ours.write_bytes(ours.read_bytes() + theirs.read_bytes() + b"\ntorn and no base64")
    journal.record(objects, RUN, "pruned", of=RUN)
    found = [(e["event"], e["of"]) for e in journal.events(objects, RUN)]
    assert found == [("saved", RUN), ("pruned", RUN)]
    ours.write_bytes(b"\nnothing\n")
    assert journal.events(objects, RUN) == []


# --- what is damaged is named, and does not hide ---


def test_a_run_is_named_by_whatever_of_it_opens(store: holdfast.Store) -> None:
    for commit in run_folder(store, RUN).glob("commits/*"):
        flip(commit, 40)
    assert store.runs() == ["other", RUN]
    assert [check.ok for check in store.verify(RUN).checkpoints] == [False, False]


def test_a_run_that_nothing_names_is_not_passed_over(store: holdfast.Store) -> None:
    folder = run_folder(store, RUN)
    for path in files(folder):
        path.write_bytes(path.read_bytes()[:-1])
    assert store.runs() == ["?" + folder.name, "other"]
    report = store.verify()
    assert not report.ok
    assert sum(not check.ok for check in report.checkpoints) == 2
    assert loads(store, "other@2")


def test_a_damaged_tag_is_told_and_can_be_taken_away(store: holdfast.Store) -> None:
    path = only(run_folder(store, RUN), "tags/*")
    flip(path, 50)
    [tag] = tags.all_tags(store.place.open(), RUN)
    assert tag.error is not None and tag.name == f"?{path.name}"
    with pytest.raises(SealBroken):
        holdfast.load(store, f"{RUN}@good")
    assert any(path.name in problem for problem in store.verify(RUN).problems)
    store.untag(RUN, tag.name)
    assert store.verify(RUN).ok


# --- the marker and the keyring ---


def test_either_of_the_two_keyrings_is_enough(store: holdfast.Store) -> None:
    keyrings = list(Path(store.path).glob("keys/*/*"))
    assert len(keyrings) == 2
    for path in keyrings:
        data = path.read_bytes()
        flip(path, len(data) // 2)
        assert not refused_or_right(store)
        assert any("keyring" in problem for problem in store.verify().problems)
        assert any("keyring" in problem for problem in store.doctor().problems)
        assert store.repair().ok and path.read_bytes() == data
        assert store.verify().ok


def test_a_keyring_that_is_damaged_twice_is_told(store: holdfast.Store) -> None:
    for path in Path(store.path).glob("keys/*/*"):
        flip(path, 100)
    with pytest.raises(ManifestDamaged, match=r"keyring.*Bring it back from a copy"):
        store.runs()


@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_a_store_that_has_lost_its_marker_is_still_encrypted(
    store: holdfast.Store, damage: str, me: Identity
) -> None:
    marker = Path(store.path, "holdfast.json")
    flip(marker, 9) if damage == "flipped" else marker.unlink()
    assert store.is_encrypted
    assert not refused_or_right(store)
    with pytest.raises(HoldfastError, match="is encrypted"):
        holdfast.Store(store.path).runs()
    fill(Path(store.path), me)
    assert marker.exists() and store.verify().ok
    with pytest.raises(HoldfastError, match="is encrypted"):
        holdfast.Store(store.path).runs()


def test_a_store_that_is_made_to_look_plain_gets_nothing_in_the_open(
    store: holdfast.Store, tmp_path: Path
) -> None:
    holdfast.save(tmp_path / "plain", {"n": 1}, run="r", step=1)
    shutil.copy(tmp_path / "plain" / "holdfast.json", Path(store.path, "holdfast.json"))
    with pytest.raises(HoldfastError, match="not encrypted"):
        holdfast.save(store, {"n": 1}, run=RUN, step=9)
    with pytest.raises(HoldfastError, match="not encrypted"):
        holdfast.load(store, f"{RUN}@latest")


@pytest.mark.parametrize("where", ["first byte", "middle", "last byte", "tag", "nonce", "cut"])
def test_a_state_that_stands_is_as_it_was_where_one_of_many_chunks_does_not_open(
    tmp_path: Path, me: Identity, where: str
) -> None:
    """Chunks are opened to their places before the last byte has told whether they are good."""
    rng = np.random.default_rng(0)
    state = {f"w{i}": rng.standard_normal(600_000, dtype=np.float32) for i in range(6)}
    store = holdfast.Store(tmp_path / "store", keys=me)
    with Checkpointer(store, state, run=RUN, rng=False) as ckpt:
        ckpt.save(1).wait()
        saved = {name: value.copy() for name, value in state.items()}
        for value in state.values():
            value += 1.0
        before = {name: value.copy() for name, value in state.items()}
        objects = store.place.open()
        record = commits.read_commit(objects, RUN, 1)
        part = commits.read_part(objects, record, record.parts[0])
        row = part.chunks[4]
        at = {"first byte": 0, "middle": row.length // 2, "last byte": row.length - 1}
        at |= {"tag": row.length + 3, "nonce": row.length + 20, "cut": 0}
        name = part.packs[row.pack].key.rsplit("/", 1)[-1]
        [path] = (tmp_path / "store").glob(f"runs/*/packs/{name}")
        if where == "cut":
            os.truncate(path, row.offset + row.length // 2)
        else:
            flip(path, row.offset + at[where])
        with pytest.raises(DataError):
            ckpt.restore(1)
        assert all(np.array_equal(state[name], before[name]) for name in state)
        if where != "cut":
            flip(path, row.offset + at[where])
            ckpt.restore(1)
            assert all(np.array_equal(state[name], saved[name]) for name in state)
