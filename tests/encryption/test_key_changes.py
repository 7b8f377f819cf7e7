"""Who could read before a change of keys can read after it, however the change ended."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sealed_stores import RUN, fill, loads, tree

import holdfast
from holdfast import Checkpointer, keys
from holdfast.errors import (
    AlreadyExists,
    EnvironmentTrouble,
    HoldfastError,
    KeyNeeded,
    NotFound,
    StoreUnavailable,
    UsageError,
    WrongKey,
)
from holdfast.records import commits
from holdfast.sealed.store import SealedStore
from holdfast.security.keys import Identity
from holdfast.testing.children import in_child
from holdfast.testing.effects import EffectLog, Effects, Moment, Strike

PHRASE = "correct horse battery staple"


def generations(store: holdfast.Store, step: int) -> set[int]:
    """Return the generations of the keys that a step's chunks are sealed with."""
    objects = store.place.open()
    assert isinstance(objects, SealedStore)
    found = [r for r in commits.good_commits(objects, RUN) if r.step == step][-1]
    part = commits.read_part(objects, found, found.parts[0])
    out = set()
    for row in part.chunks:
        data = objects.get(part.packs[row.pack].key)
        end = row.offset + row.length
        out.add(objects.seals.generation_of_chunk(data[end : end + 32]))
    return out


def test_holders_come_and_go_without_anything_being_rewritten(
    tmp_path: Path, me: Identity, ada: Identity
) -> None:
    store = fill(tmp_path / "store", me)
    data = {path: path.stat().st_ino for path in Path(store.path).glob("runs/*/*/*")}
    phrase = keys.passphrase(PHRASE)
    store.keys.add(keys.recipient(ada.recipients[0]), label="ada")
    store.keys.add(phrase, label="the lab")
    assert [holder.label for holder in store.keys.holders()] == ["", "ada", "the lab"]
    assert [holder.kind for holder in store.keys.holders()] == ["recipient"] * 2 + ["passphrase"]
    for key in (ada, keys.passphrase(PHRASE), me):
        assert loads(holdfast.Store(store.path, keys=key))
    with pytest.raises(AlreadyExists):
        store.keys.add(ada)
    # Ada removes the others: for those who stay nobody's passphrase or private key is needed.
    theirs = holdfast.Store(store.path, keys=ada)
    theirs.keys.remove(me.recipients[0])
    with pytest.raises(WrongKey):
        store.log(RUN)
    assert loads(holdfast.Store(store.path, keys=keys.passphrase(PHRASE)))
    theirs.keys.remove("the lab")
    with pytest.raises(WrongKey):
        holdfast.Store(store.path, keys=keys.passphrase(PHRASE)).log(RUN)
    assert loads(theirs)
    with pytest.raises(UsageError, match="last holder"):
        theirs.keys.remove("ada")
    with pytest.raises(NotFound):
        theirs.keys.remove("nobody")
    assert {path: path.stat().st_ino for path in data} == data


def test_rotation_seals_what_comes_with_a_new_key_and_leaves_the_old_readable(
    tmp_path: Path, me: Identity
) -> None:
    store = fill(tmp_path / "store", me)
    assert store.keys.rotate() == 2 and store.keys.generations() == [1, 2]
    holdfast.save(store, tree(3), run=RUN, step=3, rng=False)
    assert generations(store, 2) == {1}
    assert generations(store, 3) == {1, 2}, "the leaf that stays lies where it lay"
    assert loads(store, f"{RUN}@2") and loads(store, f"{RUN}@3", verify="full")
    report = store.keys.reencrypt()
    assert report.ok and report.retired == [1]
    assert store.keys.generations() == [2] == sorted(generations(store, 2) | generations(store, 3))
    assert all(loads(store, f"{RUN}@{step}", verify="full") for step in (1, 2, 3))
    assert store.verify().ok and store.keys.reencrypt().objects == 0


def test_re_encryption_changes_no_byte_of_what_is_sealed(tmp_path: Path, me: Identity) -> None:
    store = fill(tmp_path / "store", me)

    def contents() -> dict[str, bytes]:
        objects = store.place.open()
        found = [info.key for info in objects.list("runs/") if "/packs/" not in info.key]
        return {key: objects.get(key) for key in found if not key.endswith(".lock")}

    before, ids = contents(), [info.id for info in store.log(RUN)]
    store.keys.rotate()
    store.keys.reencrypt()
    assert contents() == before and [info.id for info in store.log(RUN)] == ids


def test_what_is_damaged_is_told_and_the_old_keys_stay(tmp_path: Path, me: Identity) -> None:
    store = fill(tmp_path / "store", me, runs=(RUN, "other"))
    backup = shutil.copytree(store.path, tmp_path / "backup")
    pack = sorted(Path(store.path).glob("runs/*/packs/*"))[0]
    data = bytearray(pack.read_bytes())
    data[100] ^= 1
    pack.write_bytes(data)
    store.keys.rotate()
    report = store.keys.reencrypt()
    assert not report.ok and report.retired == [] and "damaged" in report.problems[0]
    assert store.keys.generations() == [1, 2]
    assert store.repair([holdfast.Store(backup, keys=me)]).ok
    assert store.keys.reencrypt().retired == [1]
    assert store.verify().ok


# --- writers at work ---


def test_a_writer_takes_up_new_keys_with_its_next_save(tmp_path: Path, me: Identity) -> None:
    store = holdfast.Store(tmp_path / "store", keys=me)
    with Checkpointer(store, tree(1), run=RUN, rng=False) as ckpt:
        ckpt.save(1).wait()
        store.keys.rotate()
        report = store.keys.reencrypt()
        assert report.busy and report.retired == [], "the run is being written"
        state = ckpt._saving._what.state["moves"][0]
        state += 0.5
        ckpt.save(2).wait()
    assert 2 in generations(store, 2)
    assert store.keys.reencrypt().ok and store.verify().ok


def test_a_writer_whose_holder_was_removed_goes_on_with_what_can_be_read(
    tmp_path: Path, me: Identity, ada: Identity
) -> None:
    store = holdfast.Store(tmp_path / "store", keys=[me, ada])
    theirs = holdfast.Store(tmp_path / "store", keys=ada)
    with Checkpointer(store, tree(1), run=RUN, rng=False) as ckpt:
        ckpt.save(1).wait()
        theirs.keys.remove(me.recipients[0])
        state = ckpt._saving._what.state["moves"][0]
        state += 0.5
        ckpt.save(2).wait()
    assert generations(theirs, 2) == {1} and theirs.verify().ok


def test_a_writer_whose_keys_are_gone_is_told_before_it_writes(
    tmp_path: Path, me: Identity
) -> None:
    """Its lock could not be seen, as on another machine."""
    store = holdfast.Store(tmp_path / "store", keys=me)
    with Checkpointer(store, tree(1), run=RUN, rng=False) as ckpt:
        ckpt.save(1).wait()
        (lock,) = Path(store.path).glob("runs/*/writer.lock")
        lock.rename(tmp_path / "hidden")
        store.keys.add(keys.passphrase(PHRASE))
        phrase = holdfast.Store(store.path, keys=keys.passphrase(PHRASE))
        phrase.keys.remove(me.recipients[0])
        assert phrase.keys.reencrypt().retired == [1]
        with pytest.raises(KeyNeeded, match="Start it again"):
            ckpt.save(2).wait()
    assert phrase.verify().ok and [info.step for info in phrase.log(RUN)] == [1]


def test_of_changes_at_the_same_moment_one_is_told(tmp_path: Path, me: Identity) -> None:
    store = fill(tmp_path / "store", me)
    start = threading.Barrier(4)
    made = [keys.new_identity(tmp_path / f"{i}.key") for i in range(4)]

    def add(number: int) -> bool:
        start.wait()
        try:
            store.keys.add(made[number])
        except StoreUnavailable as error:
            assert "at the same moment" in str(error)
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(add, range(4)))
    holders = {holder.recipient for holder in store.keys.holders()}
    assert any(done)
    added = {key.text for key, yes in zip(made, done, strict=True) if yes}
    assert holders == {me.recipients[0]} | added
    assert loads(store)


def test_of_two_that_make_a_store_at_once_both_use_the_same(tmp_path: Path, me: Identity) -> None:
    for turn in range(10):
        location, start = tmp_path / str(turn), threading.Barrier(3)

        def make(number: int, location: Path = location, start: threading.Barrier = start) -> None:
            start.wait()
            store = holdfast.Store(location, keys=me)
            holdfast.save(store, tree(number), run=f"r{number}", step=number, rng=False)

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(make, range(3)))
        assert len(list(location.glob("keys/*/000000000001"))) == 1
        assert holdfast.Store(location, keys=me).verify().ok


# --- a fault before, within and after every effect ---

Change = Callable[[holdfast.Store], object]
CHANGES: dict[str, Change] = {
    "add": lambda store: store.keys.add(keys.recipient(EVE)),
    "remove": lambda store: store.keys.remove("bob"),
    "rotate": lambda store: store.keys.rotate(),
    "reencrypt": lambda store: store.keys.reencrypt(),
}
EVE = "age1xvrd5qxm9n0kqg4lc9hgn2krx3l5vn8uhmqnnz66mn3fwlpcy3nqlqxyr8"
IS_FULL = os.environ.get("HOLDFAST_FAULTS") == "full"
KILLS: tuple[Moment, ...] = ("before", "within", "after")


class Case:
    """A change of keys in a store that several can read, and what must hold after a fault in it."""

    def __init__(self, folder: Path, change: Change, stays: list[Identity], goes: Identity) -> None:
        self._pristine, self.store, self._told = folder / "p", folder / "store", folder / "told"
        self._change, self._stays = change, stays
        store = fill(self._pristine, stays)
        store.keys.add(goes, label="bob")
        store.keys.rotate()
        holdfast.save(store, tree(3), run=RUN, step=3, rng=False)
        self.renew()
        log = self._log()
        with self.struck(log, None):
            change(holdfast.Store(self.store, keys=stays[0]))
        self.effects = len(log.effects())

    def _log(self) -> EffectLog:
        self._told.with_suffix(".log").unlink(missing_ok=True)
        return EffectLog(str(self._told.with_suffix(".log")))

    @contextmanager
    def struck(self, log: EffectLog, strike: Strike | None) -> Iterator[None]:
        effects = Effects(str(self.store), log, strike)
        try:
            yield
        finally:
            effects.close()

    def renew(self) -> None:
        shutil.rmtree(self.store, ignore_errors=True)
        shutil.copytree(self._pristine, self.store)

    def kill(self, strike: Strike) -> None:
        self.renew()
        log = self._log()

        def work() -> None:
            Effects(str(self.store), log, strike)
            self._change(holdfast.Store(self.store, keys=self._stays[0]))

        status, trouble = in_child(work, self._told)
        assert status == -9, trouble

    def fail(self, strike: Strike) -> None:
        self.renew()
        with self.struck(self._log(), strike):
            try:
                self._change(holdfast.Store(self.store, keys=self._stays[0]))
            except HoldfastError as trouble:
                assert isinstance(trouble, EnvironmentTrouble), trouble

    def check(self, what: str) -> None:
        """Everybody who stays reads everything, and the change can be made after all."""
        for key in self._stays:
            store = holdfast.Store(self.store, keys=key)
            assert all(loads(store, f"{RUN}@{step}") for step in (1, 2, 3)), what
        with suppress(AlreadyExists, NotFound):  # It had been made.
            self._change(holdfast.Store(self.store, keys=self._stays[-1]))
        assert holdfast.Store(self.store, keys=self._stays[0]).verify().ok, what


@pytest.mark.parametrize("name", CHANGES)
def test_a_kill_at_any_effect(
    name: str, tmp_path: Path, me: Identity, ada: Identity, bob: Identity
) -> None:
    case = Case(tmp_path, CHANGES[name], [me, ada], bob)
    assert case.effects >= 10
    for at in range(0, case.effects, 5 if name == "reencrypt" and not IS_FULL else 1):
        for kill in KILLS if IS_FULL else KILLS[at % 3 :][:1]:
            case.kill(Strike(at, kill=kill))
            case.check(f"killed {kill} effect {at} of {name}")


@pytest.mark.parametrize("name", CHANGES if IS_FULL else ["remove"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_full_or_broken_disk_at_any_effect(
    name: str, error: int, tmp_path: Path, me: Identity, ada: Identity, bob: Identity
) -> None:
    case = Case(tmp_path, CHANGES[name], [me, ada], bob)
    for at in range(case.effects):
        case.fail(Strike(at, error=error))
        case.check(f"error at effect {at} of {name}")
