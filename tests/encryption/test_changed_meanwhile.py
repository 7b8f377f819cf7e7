"""Keys that somebody else changes while a store is open, and records that change meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from sealed_stores import RUN, fill, flip, loads, only, tree

import holdfast
from holdfast import Checkpointer
from holdfast.errors import HoldfastError, ManifestDamaged, StoreUnavailable, WrongKey
from holdfast.history.refs import resolve
from holdfast.records import key_changes, keyrings, marker
from holdfast.sealed import store as sealed_store
from holdfast.sealed.store import SealedStore
from holdfast.security.holders import Holder
from holdfast.security.keyring import Keyring
from holdfast.security.keys import Identity
from holdfast.security.unlocked import Unlocked
from holdfast.store.local import LocalStore

# --- who has it open ---


def test_a_trainer_goes_back_to_what_was_sealed_with_keys_made_since(
    tmp_path: Path, me: Identity
) -> None:
    store = holdfast.Store(tmp_path / "store", keys=me)
    state = tree(1)
    with Checkpointer(store, state, run=RUN, rng=False) as ckpt:
        ckpt.save(1).wait()
        for step in (2, 3):
            store.keys.rotate()
            state["moves"][0] += 0.5
            ckpt.save(step, tag=f"t{step}").wait()
        state["moves"][0] += 9.0
        restored = ckpt.restore()
        assert restored is not None and restored.info.step == 3 and not restored.stepped_over
        assert state["moves"][0][0] == tree(1)["moves"][0][0] + 1.0
        assert ckpt.rollback("t2").info.step == 2


def test_a_trainer_reads_what_others_save_after_a_holder_was_removed(
    tmp_path: Path, me: Identity, ada: Identity, bob: Identity
) -> None:
    """The wrapping key is another then; the trainer's own key opens the new keyring."""
    store = holdfast.Store(tmp_path / "store", keys=[me, ada, bob])
    theirs = holdfast.Store(tmp_path / "store", keys=ada)
    state = tree(1)
    with Checkpointer(store, state, run=RUN, rng=False) as ckpt:
        ckpt.save(1).wait()
        theirs.keys.remove(bob.recipients[0])
        holdfast.save(theirs, tree(5), run="other", step=5, rng=False)
        assert ckpt.restore("other@5").info.step == 5
        assert np.array_equal(state["moves"][0], tree(5)["moves"][0])
        ckpt.save(2).wait()
    assert loads(store, f"{RUN}@2") and theirs.verify().ok


def test_a_store_that_is_open_reads_what_was_sealed_anew_meanwhile(
    tmp_path: Path, me: Identity
) -> None:
    store = fill(tmp_path / "store", me)
    objects = store.place.open()
    record = resolve(objects, f"{RUN}@2")
    store.keys.rotate()
    assert store.keys.reencrypt().retired == [1]
    assert resolve(objects, f"{RUN}@2").id == record.id


# --- two who change the keys ---


def test_a_change_that_comes_two_changes_too_late_is_none(
    tmp_path: Path, me: Identity, ada: Identity, bob: Identity
) -> None:
    """The number that it would take was taken, and is free again."""
    store = fill(tmp_path / "store", [me, ada])
    late = store.place.open()
    assert isinstance(late, SealedStore)
    store.keys.rotate()
    store.keys.rotate()
    with pytest.raises(StoreUnavailable, match=r"at the same moment\. Nothing was changed"):
        key_changes.remove_holder(late, ada.recipients[0])
    assert len(list(Path(store.path).glob("keys/*/*"))) == 2
    assert [h.recipient for h in store.keys.holders()] == [me.recipients[0], ada.recipients[0]]
    store.keys.remove(ada.recipients[0])
    with pytest.raises(WrongKey):
        holdfast.Store(store.path, keys=ada).log(RUN)
    assert loads(store)


def test_a_change_that_was_interrupted_is_ended_by_the_next_save_or_repair(
    tmp_path: Path, me: Identity, bob: Identity
) -> None:
    store = fill(tmp_path / "store", [me, bob])
    old = only(Path(store.path), "keys/*/000000000001")
    data = old.read_bytes()
    store.keys.remove(bob.recipients[0])

    def interrupt() -> None:
        old.write_bytes(data)
        old.with_name("000000000002-copy").unlink(missing_ok=True)

    def names() -> list[str]:
        return sorted(path.name for path in old.parent.iterdir())

    ended = ["000000000002", "000000000002-copy"]
    interrupt()
    holdfast.save(store, tree(3), run=RUN, step=3, rng=False)
    assert names() == ended
    interrupt()
    found = store.repair(dry_run=True).fixed
    assert [(fixed.key.rsplit("/", 1)[-1], fixed.what) for fixed in found] == [
        ("000000000002-copy", "keyring taken from its copy"),
        ("000000000001", "older keyring taken away, which ends a change of keys"),
    ]
    assert "000000000001" in names()
    assert store.repair().ok and names() == ended


def test_the_old_keyring_stays_while_the_new_one_is_damaged(tmp_path: Path, me: Identity) -> None:
    store = fill(tmp_path / "store", me)
    old = only(Path(store.path), "keys/*/000000000001")
    data = old.read_bytes()
    store.keys.rotate()
    old.write_bytes(data)
    for path in old.parent.glob("000000000002*"):
        flip(path, 60)
    store.repair()
    assert old.exists() and loads(store)


@pytest.mark.parametrize("number", [2, 9])
def test_a_change_of_keys_that_is_half_written_is_told_as_what_it_is(
    tmp_path: Path, me: Identity, ada: Identity, number: int
) -> None:
    store = fill(tmp_path / "store", me)
    old = only(Path(store.path), "keys/*/000000000001")
    half = old.with_name(f"{number:012}")
    half.write_bytes(old.read_bytes()[:200])
    assert loads(store)
    assert [text for text in store.verify().problems if half.name in text and "before it" in text]
    for change in (store.keys.rotate, lambda: store.keys.add(ada)):
        with pytest.raises(ManifestDamaged, match=rf"{half.name}\) is damaged.* delete it"):
            change()
    assert sorted(p.name for p in old.parent.iterdir()) == sorted(
        [old.name, f"{old.name}-copy", half.name]
    )
    half.unlink()
    store.keys.add(ada)
    assert loads(holdfast.Store(store.path, keys=ada)) and store.verify().ok


# --- the marker ---


def test_a_marker_that_is_written_anew_keeps_the_share_and_the_id(
    tmp_path: Path, me: Identity
) -> None:
    path = tmp_path / "store"
    store = holdfast.Store(path, keys=me, share="group")
    for _ in range(2):
        with Checkpointer(store, tree(1), run=RUN, rng=False) as ckpt:
            ckpt.restore()
            ckpt.save(ckpt.next_step + 1).wait()
    name = marker.store_id(LocalStore(path))
    flip(path / "holdfast.json", 30)
    assert store.repair().ok
    assert marker.check(LocalStore(path)).share == "group"
    assert marker.store_id(LocalStore(path)) == name
    for spoil in (lambda: flip(path / "holdfast.json", 30), (path / "holdfast.json").unlink):
        spoil()
        holdfast.save(store, tree(3), run="other", step=3, rng=False)
        assert marker.check(LocalStore(path)).share == "group"
        assert marker.store_id(LocalStore(path)) == name
    assert holdfast.Store(path, keys=me).verify().ok


# --- records that somebody removes or moves while they are sealed anew ---


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, part: str, act: Callable[[], object]
) -> list[object]:
    """Let somebody else act between the reading and the writing of an object, if they can."""
    resealed, done = sealed_store.resealed, []

    def slowly(seals: object, stored_key: str, stored: bytes) -> bytes | None:
        if part in stored_key and not done:
            other = threading.Thread(target=act)
            done.append(other)
            other.start()
            other.join(1.0)
        return resealed(seals, stored_key, stored)  # type: ignore[arg-type]

    monkeypatch.setattr(sealed_store, "resealed", slowly)
    return done


def test_a_checkpoint_that_is_removed_meanwhile_does_not_come_back(
    tmp_path: Path, me: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "store", me)
    store.keys.rotate()
    done = meanwhile(monkeypatch, "commits/000000000001", lambda: store.remove(f"{RUN}@1"))
    store.keys.reencrypt()
    done[0].join()
    assert [info.step for info in store.log(RUN)] == [2]
    assert store.verify().ok and loads(store)


def test_a_tag_that_is_moved_meanwhile_stays_where_it_went(
    tmp_path: Path, me: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "store", me)
    store.keys.rotate()
    done = meanwhile(monkeypatch, "/tags/", lambda: store.tag(f"{RUN}@1", "good"))
    store.keys.reencrypt()
    done[0].join()
    assert store.info(f"{RUN}@good").step == 1


def test_a_tag_that_is_taken_away_meanwhile_does_not_come_back(
    tmp_path: Path, me: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "store", me)
    store.keys.rotate()
    done = meanwhile(monkeypatch, "/tags/", lambda: store.untag(RUN, "good"))
    store.keys.reencrypt()
    done[0].join()
    assert store.info(f"{RUN}@2").tags == () and store.verify().ok


def test_a_keyring_that_somebody_else_has_made_is_not_taken_up(
    tmp_path: Path, me: Identity
) -> None:
    """Public keys stand in the open: whoever can write can wrap keys of his own for them."""
    location = tmp_path / "store"
    fill(location, me)
    opened = holdfast.Store(location, keys=me).place.open()
    assert isinstance(opened, SealedStore)
    ring, inner = opened.unlocked.ring, LocalStore(location)
    holders = tuple(Holder(h.recipient) for h, _ in keyrings.read(inner, ring).slots)
    keyring = Keyring(os.urandom(32), {1: os.urandom(32), 7: os.urandom(32)})
    forged = SealedStore(inner, Unlocked(ring, 2, os.urandom(32), keyring, holders))
    keyrings.write(inner, forged.unlocked)
    forged.put("runs/run/tags/planted", b"anything")
    for info in list(opened.list("runs/")):
        with suppress(HoldfastError):
            opened.get(info.key)
    assert opened.unlocked.keyring.root != keyring.root
    assert opened.seals.keyring.generations.keys() == {1}
