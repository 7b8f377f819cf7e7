"""Encrypted stores that a reader must refuse: rule S, laid over the golden one of ``sealing``."""

from __future__ import annotations

import sealing
from making import Files
from malformed import CHUNK_DAMAGED, DAMAGED, TOO_NEW, Case
from sealing import IDS, KEYRING, ROOT, keyring, stored_key

BROKEN = "seal-broken"
COMMIT, OTHER = f"{ROOT}commits/000000000002", f"{ROOT}commits/000000000001"
PACK = stored_key(f"{ROOT}packs/{IDS[1]}-00000")


def cases() -> list[Case]:
    found = [*_objects(), *_chunks(), *_keyrings()]
    return [Case(f"S-{name}", "S", kind, why, files) for name, kind, why, files in found]


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _objects() -> list[tuple[str, str, str, Files]]:
    place, files = stored_key(COMMIT), sealing.files()
    data, other = files[place], files[stored_key(OTHER)]
    moved = sealing.seal(2, sealing.joined(OTHER, b"{}"), b"object\0" + stored_key(COMMIT).encode())
    made = {
        "flipped": ("a bit of a commit record", _flipped(data, 60)),
        "nonce": ("a bit of a nonce", _flipped(data, 9)),
        "magic": ("a bit of the magic", _flipped(data, 3)),
        "generation": ("a generation that is not the one it was sealed with", _flipped(data, 4)),
        "generation-unknown": ("a generation that is not in the keyring", _flipped(data, 6)),
        "short": ("shorter than any sealed object", data[:35]),
        "cut": ("a byte is missing", data[:-1]),
        "swapped": ("the record of another commit", other),
        "open": ("a commit record that is not sealed", b'{"payload":"e30="}'),
        "key": ("sealed for this place, but another object by what is in it", moved),
    }
    return [(f"object-{name}", BROKEN, why, {place: new}) for name, (why, new) in made.items()]


def _chunks() -> list[tuple[str, str, str, Files]]:
    data = sealing.files()[PACK]
    # The new chunk has 24 bytes, then come tag, nonce and generation.
    made = {
        "flipped": ("a bit of a chunk", _flipped(data, 3)),
        "tag": ("a bit of a tag", _flipped(data, 24)),
        "nonce": ("a bit of a nonce", _flipped(data, 40)),
        "generation": ("a generation that is not the one it was sealed with", _flipped(data, 52)),
        "generation-unknown": ("a generation that is not in the keyring", _flipped(data, 55)),
        "cut": ("a pack that ends within what follows a chunk", data[:50]),
    }
    cases = [
        (f"chunk-{name}", CHUNK_DAMAGED, why, {PACK: new}) for name, (why, new) in made.items()
    ]
    older = sealing.checkpoint(0, generation=1)[0]
    named = sealing.sealed_chunk(2, bound_to=sealing.chunk_id(b"another"))
    files = sealing.checkpoint(1, generation=2, older=older, stored=named)[1]
    why = "a chunk that was sealed under another id"
    return [*cases, ("chunk-id", CHUNK_DAMAGED, why, {PACK: files[PACK]})]


def _keyrings() -> list[tuple[str, str, str, Files]]:
    elsewhere = b"keyring\0" + KEYRING.replace("2", "1").encode()
    made = {
        "flipped": (DAMAGED, "a bit of both copies", _flipped(keyring(), 200)),
        "format": (TOO_NEW, "a keyring of another format", keyring(format=2)),
        "moved": (DAMAGED, "a keyring from another place", keyring(bound_to=elsewhere)),
        "generations": (DAMAGED, "other generations than are sealed", keyring(generations=[2])),
        "cost": (DAMAGED, "Argon2id in 2 GiB", keyring(cost={"memory_kib": 2 << 20})),
        "passes": (DAMAGED, "Argon2id in 17 passes", keyring(cost={"passes": 17})),
        "slots": (DAMAGED, "no list of slots", keyring(slots={})),
    }
    return [
        (f"keyring-{name}", kind, why, {KEYRING: data, f"{KEYRING}-copy": data})
        for name, (kind, why, data) in made.items()
    ]
