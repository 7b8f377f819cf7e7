"""Without a key there is nothing to be read in an encrypted store: not a name, not a number."""

from __future__ import annotations

import base64
import io
import logging
import os
import pickle
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sealed_stores import files, fill, loads, only, tree

import holdfast
from holdfast import Checkpointer, every, keep, keys
from holdfast.errors import HoldfastError, InvalidKey, KeyNeeded, UsageError, WrongKey
from holdfast.format.names import RunKeys
from holdfast.records import journal, pins
from holdfast.sealed.store import SealedStore
from holdfast.security.keys import Identity

RUN, TAG, METRIC, LEAF, TEXT = "hushrun/α", "hushtag", "hushmetric", "hushleaf", "hushtext" * 99
HOST = "hushhost.example"
PHRASE = "correct horse battery staple"
NUMBERS = np.arange(1000, 60_000, dtype=np.float64)


def use_everything(store: holdfast.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every kind of object be written, and leave one of each."""
    state: dict[str, Any] = {LEAF: NUMBERS.copy(), "text": TEXT}
    with Checkpointer(store, state, run=RUN, save=every(steps=1), keep=keep.last(2)) as ckpt:
        for step in range(1, 4):
            ckpt.step(step, metrics={METRIC: 0.5})
            ckpt.wait()
        ckpt.save(9, tag=TAG).wait()
        ckpt.restore()
    with monkeypatch.context() as here:
        here.setattr(socket, "gethostname", lambda: HOST)
        holdfast.save(store, state, run=RUN, step=10, metrics={METRIC: 1.5}, tag=f"{TAG} 2")
        objects = store.place.open()
        pins.put_pin(objects, RUN, pins.Pin("a" * 32, ("runs/hush/parts/x",)))
        objects.put_hint(RunKeys(RUN).removal("b" * 32, "c" * 32), b'{"pid": 1, "host": "hush"}')
        journal.record(objects, RUN, "saved", note=TEXT)


def everything_in(store: Path) -> bytes:
    """Return all names and all bytes of a folder."""
    parts = [str(path.relative_to(store)).encode() + path.read_bytes() for path in files(store)]
    return b"\n".join(parts)


def test_nothing_can_be_read_in_any_file_or_name(
    tmp_path: Path, me: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, sealed = tmp_path / "plain", tmp_path / "sealed"
    use_everything(holdfast.Store(plain), monkeypatch)
    use_everything(holdfast.Store(sealed, keys=[me, keys.passphrase(PHRASE)]), monkeypatch)
    kinds = {path.parent.name for path in files(sealed)} | {path.name for path in files(sealed)}
    assert kinds >= {"commits", "parts", "packs", "tags", "pins", "removals", "events.jsonl"}
    needles = [b"hush", LEAF.encode(), HOST.encode(), NUMBERS[:4].tobytes(), NUMBERS[-4:].tobytes()]
    needles += [b"float64", b'"event"', b'"pid"', b"base_parts", b"payloadType"]
    assert [needle for needle in needles if needle not in everything_in(plain)] == []
    # Marker and keyring are envelopes.
    assert [needle for needle in needles[:-1] if needle in everything_in(sealed)] == []
    assert b"payloadType" not in everything_in(sealed / "runs")
    for secret in (PHRASE.encode(), me.secrets[0].encode()):
        assert secret not in everything_in(sealed)
    unlocked = sealed_store(holdfast.Store(sealed, keys=me)).unlocked
    for key in (unlocked.wrapping_key, unlocked.keyring.root, unlocked.keyring.generations[1]):
        assert key not in everything_in(sealed) and base64.b64encode(key) not in everything_in(
            sealed
        )


def sealed_store(store: holdfast.Store) -> SealedStore:
    found = store.place.open()
    assert isinstance(found, SealedStore)
    return found


def test_what_is_equal_does_not_look_equal(tmp_path: Path, me: Identity, ada: Identity) -> None:
    """Equal chunks, tags and records of two runs or stores have not a block in common."""
    one = fill(tmp_path / "one", me, runs=("a", "b"))
    other = fill(tmp_path / "other", ada, runs=("a", "b"))
    blocks: list[bytes] = []
    for store in (one, other):
        for pack in Path(store.path).glob("runs/*/packs/*"):
            data = pack.read_bytes()
            blocks += [data[at : at + 32] for at in range(0, len(data), 4096)]
    blocks = [block for block in blocks if block != bytes(32)]
    assert len(blocks) > 100 and len(set(blocks)) == len(blocks)
    names = [path.name for store in (one, other) for path in Path(store.path).glob("runs/*/tags/*")]
    names += [path.name for store in (one, other) for path in Path(store.path).glob("runs/*")]
    assert len(set(names)) == len(names) == 8


def test_what_has_not_changed_is_not_written_again(tmp_path: Path, me: Identity) -> None:
    """Also after the keys were rotated: ids stay what they are."""
    store = holdfast.Store(tmp_path / "store", keys=me)
    first = holdfast.save(store, tree(1), run="r", step=1, rng=False)
    again = holdfast.save(store, tree(1), run="r", step=2, rng=False)
    store.keys.rotate()
    rotated = holdfast.save(store, tree(1), run="r", step=3, rng=False)
    assert first.stored_bytes > 500_000
    assert again.stored_bytes < 10_000 and rotated.stored_bytes < 10_000


# --- keys that do not open ---


def test_without_a_key_there_is_one_clear_error(tmp_path: Path, me: Identity) -> None:
    location = fill(tmp_path / "store", me).path
    for use in (
        lambda: holdfast.Store(location).runs(),
        lambda: holdfast.Store(location).verify(),
        lambda: holdfast.load(location, "run@latest"),
        lambda: holdfast.save(location, tree(1), run="run", step=9),
        lambda: Checkpointer(location, tree(1), run="run"),
    ):
        with pytest.raises(KeyNeeded, match=r"is encrypted.*keys\.identity\(FILE\)"):
            use()
    assert len(holdfast.Store(location, keys=me).log("run")) == 2


def test_a_wrong_key_and_a_wrong_passphrase_are_one_error(
    tmp_path: Path, me: Identity, ada: Identity
) -> None:
    location = tmp_path / "store"
    fill(location, [me, keys.passphrase(PHRASE)])
    before = everything_in(location)
    for key in (ada, keys.passphrase(PHRASE + " "), keys.passphrase("x")):
        with pytest.raises(WrongKey) as caught:
            holdfast.load(holdfast.Store(location, keys=key), "run@latest")
        assert "None of the keys" in str(caught.value) and "horse" not in str(caught.value)
        assert ada.secrets[0] not in f"{caught.value} {caught.value.facts}"
        with pytest.raises(WrongKey):
            holdfast.save(holdfast.Store(location, keys=key), tree(1), run="run", step=9)
    assert everything_in(location) == before
    assert loads(holdfast.Store(location, keys=keys.passphrase(PHRASE)))
    assert loads(holdfast.Store(location, keys=[ada, me]))


def test_a_public_key_alone_neither_makes_nor_opens_a_store(tmp_path: Path, me: Identity) -> None:
    public = keys.recipient(me.recipients[0])
    with pytest.raises(KeyNeeded, match="opens nothing"):
        holdfast.save(holdfast.Store(tmp_path / "s", keys=public), tree(1), run="run", step=1)
    fill(tmp_path / "store", me)
    with pytest.raises(KeyNeeded, match="opens nothing"):
        holdfast.Store(tmp_path / "store", keys=public).runs()


def test_a_plain_store_does_not_take_keys(tmp_path: Path, me: Identity) -> None:
    holdfast.save(tmp_path, tree(1), run="run", step=1)
    store = holdfast.Store(tmp_path, keys=me)
    for use in (store.runs, lambda: holdfast.save(store, tree(1), run="run", step=2)):
        with pytest.raises(UsageError, match=r"not encrypted.*copy"):
            use()
    with pytest.raises(UsageError, match="not encrypted"):
        holdfast.Store(tmp_path).keys.holders()


@pytest.mark.parametrize("given", ["hush", ["hush"], [], 5, b"hush"], ids=repr)
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, given: Any) -> None:
    with pytest.raises(InvalidKey, match="keys= takes") as caught:
        holdfast.Store(tmp_path, keys=given)
    assert "hush" not in str(caught.value)


# --- secrets stay where they are ---


def test_no_secret_is_shown_logged_or_pickled(
    tmp_path: Path, me: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    phrase = keys.passphrase(PHRASE)
    with caplog.at_level(logging.DEBUG):
        store = fill(tmp_path / "store", [me, phrase])
        store.keys.rotate()
        store.verify()
    objects = sealed_store(store)
    shown = [phrase, me, store, objects.unlocked, objects.unlocked.keyring, *store.keys.holders()]
    text = " ".join(map(repr, shown)) + caplog.text
    for secret in (PHRASE, me.secrets[0], repr(objects.unlocked.keyring.root)[2:-1]):
        assert secret not in text
    for key in (phrase, me):
        with pytest.raises(TypeError, match="secret"):
            pickle.dump(key, io.BytesIO())


def test_the_persister_gets_the_keys_through_its_socket_only(tmp_path: Path, me: Identity) -> None:
    store = holdfast.Store(tmp_path / "store", keys=[me, keys.passphrase(PHRASE)])
    with Checkpointer(store, tree(1), run="run") as ckpt:
        ckpt.save(1).wait()
        process = Path(f"/proc/{ckpt._saver.client.pid}")
        seen = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        opened_files = []
        for fd in (process / "fd").iterdir():
            # One may be closed meanwhile: the process still tidies up.
            with suppress(FileNotFoundError):
                opened_files.append(os.readlink(fd))
    keyring = sealed_store(store).unlocked
    secrets = [keyring.wrapping_key, keyring.keyring.root, keyring.keyring.generations[1]]
    for secret in secrets:
        for form in (secret, secret.hex().encode(), base64.b64encode(secret)):
            assert form not in seen
    assert PHRASE.encode() not in seen and me.secrets[0].encode() not in seen
    assert me.path not in opened_files
    assert only(Path(store.path), "runs/*/commits/*").exists() and loads(store, "run@1")


def test_errors_of_a_save_that_fails_hold_no_secret(tmp_path: Path, me: Identity) -> None:
    store = fill(tmp_path / "store", me)
    for pack in Path(store.path).glob("runs/*/packs/*"):
        pack.write_bytes(pack.read_bytes()[:-5000])
    with pytest.raises(HoldfastError) as caught:
        holdfast.load(store, "run@2")
    unlocked = sealed_store(store).unlocked
    text = f"{caught.value!r} {caught.value.facts}"
    assert base64.b64encode(unlocked.keyring.root).decode() not in text
