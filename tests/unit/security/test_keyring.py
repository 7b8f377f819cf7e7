"""Seals, and the keyring as bytes."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast import keys
from holdfast.errors import ManifestDamaged
from holdfast.format import envelope
from holdfast.security import age, holders, keyring, locked, unlocked
from holdfast.security.holders import Cost, Holder, holders_of, identities
from holdfast.security.keyring import Keyring
from holdfast.security.seal import TRAILER_BYTES, Seals, Unsealable
from holdfast.security.unlocked import Unlocked

CHEAP = Cost(memory_kib=64, passes=1, lanes=1)


@pytest.fixture
def opened(tmp_path: Path) -> Unlocked:
    me = keys.new_identity(tmp_path / "k")
    phrase = holders_of(keys.passphrase("two"), "lab", CHEAP)
    return Unlocked(
        "a" * 32, 3, os.urandom(32), Keyring.new().rotated(), (Holder(me.text), *phrase)
    )


# --- keys made of keys ---


def test_each_use_and_generation_has_a_key_of_its_own() -> None:
    ring = Keyring.new().rotated()
    made = {ring.data_key(n, use) for n in (1, 2) for use in ("records", "chunks")}
    made |= {ring.lasting_key(use) for use in ("names", "chunk-ids")}
    assert len(made) == 6 and ring.newest == 2
    assert ring.data_key(3, "records") is None
    again = ring.rotated()
    assert again.data_key(1, "chunks") == ring.data_key(1, "chunks")
    assert again.lasting_key("names") == ring.lasting_key("names")
    assert set(again.without_old().generations) == {3}


def test_a_keyring_goes_to_another_process_and_back(opened: Unlocked) -> None:
    message = json.loads(json.dumps(unlocked.to_message(opened)))
    assert unlocked.from_message(message) == replace(opened, holders=())


@pytest.mark.parametrize("change", [{"1": "AAAA"}, {}, {"01": "x"}, {"0": "x"}, [], None])
def test_what_is_no_keyring_is_refused(change: object) -> None:
    found = keyring.to_json(Keyring.new())
    with pytest.raises((ValueError, KeyError, TypeError)):
        keyring.from_json(found | {"generations": change})


# --- seals ---


def test_a_seal_opens_with_its_key_and_place_only() -> None:
    ring = Keyring.new()
    seals, others = Seals(ring), Seals(Keyring.new())
    sealed = seals.seal(b"data", bound_to=b"here")
    assert seals.open(sealed, bound_to=b"here") == b"data"
    assert Seals(ring.rotated()).open(sealed, bound_to=b"here") == b"data"
    assert seals.seal(b"data", bound_to=b"here") != sealed
    for use in (
        lambda: seals.open(sealed, bound_to=b"there"),
        lambda: others.open(sealed, bound_to=b"here"),
        lambda: Seals(ring.rotated().without_old()).open(sealed, bound_to=b"here"),
        *(
            lambda at=at: seals.open(
                sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], bound_to=b"here"
            )
            for at in range(len(sealed))
        ),
        *(lambda n=n: seals.open(sealed[:n], bound_to=b"here") for n in range(len(sealed))),
    ):
        with pytest.raises(Unsealable):
            use()


def test_a_chunk_opens_in_pieces_and_in_place() -> None:
    seals, data = Seals(Keyring.new()), os.urandom(100_001)
    sealed = memoryview(bytearray(len(data) + TRAILER_BYTES))
    seals.seal_chunk(memoryview(data), b"i" * 32, sealed)
    for step in (1 << 20, 4096, 999):
        memory = memoryview(bytearray(sealed))
        opener = seals.chunk_opener(bytes(memory[len(data) :]), b"i" * 32)
        for at in range(0, len(data), step):
            piece = memory[at : min(at + step, len(data))]
            opener.add(piece, piece)
        opener.finish()
        assert memory[: len(data)] == data


@pytest.mark.parametrize("fault", ["id", "missing", "flipped", "tag", "generation"])
def test_a_chunk_that_is_not_what_was_sealed_does_not_open(fault: str) -> None:
    seals, data = Seals(Keyring.new()), bytes(5000)
    sealed = memoryview(bytearray(len(data) + TRAILER_BYTES))
    seals.seal_chunk(memoryview(data), b"i" * 32, sealed)
    flips = {"flipped": 77, "tag": 5001, "generation": len(sealed) - 1}
    if fault in flips:
        sealed[flips[fault]] ^= 1
    name = b"j" * 32 if fault == "id" else b"i" * 32
    end = 4999 if fault == "missing" else 5000
    with pytest.raises(Unsealable):
        opener = seals.chunk_opener(bytes(sealed[5000:]), name)
        opener.add(sealed[:end], sealed[:end])
        opener.finish()


# --- holders ---


def test_a_passphrase_unlocks_its_own_holder_once(monkeypatch: pytest.MonkeyPatch) -> None:
    key = keys.passphrase("two")
    (holder,) = holders_of(key, "lab", CHEAP)
    again = keys.passphrase("two")
    ((found, private),) = identities([keys.passphrase("three"), again], [holder])
    assert found is holder and age.recipient_of(private) == holder.recipient
    monkeypatch.setattr(holders, "Argon2id", None)
    assert len(list(identities([again, key], [holder]))) == 2


@pytest.mark.parametrize(
    "cost",
    [
        {"memory_kib": 2 << 20},
        {"memory_kib": 7},
        {"passes": 0},
        {"passes": 17},
        {"lanes": 0},
        {"lanes": 17},
        {"passes": True},
        {"passes": "3"},
    ],
    ids=str,
)
def test_a_cost_that_would_stop_a_reader_is_refused(cost: dict[str, object]) -> None:
    (holder,) = holders_of(keys.passphrase("two"), cost=CHEAP)
    found = holders.to_json(holder)
    assert holders.from_json(found) == holder
    found["passphrase"] |= cost  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"bounds|count"):
        holders.from_json(found)


# --- its bytes ---


def test_a_keyring_comes_back_from_its_bytes(opened: Unlocked) -> None:
    found = locked.decode(opened.ring, opened.number, locked.encode(opened))
    assert found.generations == [1, 2] and len(found.slots) == 2
    assert locked.opened(found, opened.wrapping_key) == opened
    with pytest.raises(ManifestDamaged):
        locked.opened(found, os.urandom(32))
    for moved in (replace(found, number=4), replace(found, ring="b" * 32)):
        with pytest.raises(ManifestDamaged):
            locked.opened(moved, opened.wrapping_key)


def test_nobody_gets_the_next_key_by_writing_himself_into_a_slot(
    opened: Unlocked, tmp_path: Path
) -> None:
    """Public keys in the open can be exchanged by who can write; those that count are sealed."""
    eve = keys.new_identity(tmp_path / "eve")
    payload = envelope.unwrap(locked.encode(opened), locked.PAYLOAD_TYPE, what="x")
    payload["slots"][0]["recipient"] = eve.text  # type: ignore[index]
    forged = envelope.wrap(locked.PAYLOAD_TYPE, payload)
    found = locked.opened(locked.decode(opened.ring, 3, forged), opened.wrapping_key)
    assert eve.text not in {holder.recipient for holder in found.holders}
    assert found == opened
