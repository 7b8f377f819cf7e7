"""An encrypted store made by hand, from the words of docs/spec/v1.md: what is random is given.

Two checkpoints, between which the keys were rotated; the second has a chunk of the first.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

import age_by_hand
import numpy as np
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from making import (
    Arrays,
    Files,
    Packs,
    Tree,
    canonical,
    commit,
    encoded,
    head,
    marker,
    sealed,
    statement,
    tag,
)

from holdfast.format.tree import NodeKind as K

RUN, ROOT = "gpt/α", "runs/gpt%2F%CE%B1/"
IDS = ("0123456789abcdef" * 2, "fedcba9876543210" * 2)
RING = "7" * 32
KEYRING = f"keys/{RING}/000000000002"
KEYRING_TYPE = "application/vnd.holdfast.keyring+json"
MAGIC = b"HFS\1"

# Keys of nobody's, for these vectors only.
IDENTITY = "AGE-SECRET-KEY-15Y0FN804J2RMK798CN5YY7Z6RHNAEQFCMZXRTUPVHE6Q4TSUZERQCZHGL5"
RECIPIENT = "age1gp6wlvy59m0y82u4wejctwjggx440736n75tf0qyc0fnmf8qygxs535muq"
PASSPHRASE = "two drops of se\u0301a water"
LOCKED_IDENTITY = "AGE-SECRET-KEY-182NH6VE8LXK3LQE7EWRV9XENQMJFEECGTD6D34T7QE4404GLMS6QQEUX2V"
LOCKED_RECIPIENT = "age1vpx8swwyt78a52fmxq00hhp54wnpeathsqu8u9pme08g5hpkhyaswy7ddc"
COST = {"memory_kib": 64, "passes": 1, "lanes": 1}
WRAPPING_KEY, KEY_ROOT = b"\x11" * 32, b"\x22" * 32
GENERATIONS = {1: b"\x33" * 32, 2: b"\x44" * 32}


def key(secret: bytes, use: str) -> bytes:
    return age_by_hand.hkdf(secret, b"", b"holdfast/1 " + use.encode())


def nonce(what: bytes) -> bytes:
    """Return a nonce that is another for everything that is sealed here."""
    return blake3(b"nonce" + what).digest()[:12]


# --- names ---


def named(*parts: str) -> str:
    return blake3("\0".join(parts).encode(), key=key(KEY_ROOT, "names")).hexdigest()


def stored_key(name: str) -> str:
    parts = name.split("/")
    if len(parts) > 3 and parts[2] == "tags":
        parts[3] = named("tag", parts[1], parts[3])
    parts[1] = named("run", parts[1])
    return "/".join(parts)


# --- objects ---


def seal(generation: int, data: bytes, bound_to: bytes) -> bytes:
    first, random = MAGIC + struct.pack("<I", generation), nonce(bound_to + data)
    cipher = AESGCM(key(GENERATIONS[generation], "records"))
    return first + random + cipher.encrypt(random, data, first + bound_to)


def joined(name: str, data: bytes) -> bytes:
    return struct.pack("<H", len(name.encode())) + name.encode() + data


def sealed_object(name: str, data: bytes, generation: int = 1, *, at: str = "") -> Files:
    """Return the file of an object; ``at`` binds it to the place of another."""
    place = b"object\0" + stored_key(at or name).encode()
    return {stored_key(name): seal(generation, joined(name, data), place)}


def sealed_journal(name: str, *lines: tuple[int, bytes]) -> Files:
    place = b"line\0" + stored_key(name).encode()
    made = [base64.b64encode(seal(n, joined(name, line), place)) for n, line in lines]
    return {stored_key(name): b"".join(b"\n" + line + b"\n" for line in made) + b"\nto"}


# --- chunks ---


def chunk_id(data: bytes) -> bytes:
    return blake3(data, key=key(KEY_ROOT, "chunk-ids")).digest()


def sealed_chunk(generation: int, *, bound_to: bytes | None = None) -> Callable[[bytes], bytes]:
    def stored(data: bytes) -> bytes:
        random = nonce(b"chunk" + data)
        cipher = AESGCM(key(GENERATIONS[generation], "chunks"))
        box = cipher.encrypt(random, data, bound_to or chunk_id(data))
        return box + random + struct.pack("<I", generation)

    return stored


# --- the keyring ---


def keyring(**changes: Any) -> bytes:
    locked = _locked(COST | changes.pop("cost", {}))
    holders = [
        {"recipient": RECIPIENT, "label": "ada"},
        {"recipient": LOCKED_RECIPIENT, "label": "", "passphrase": locked},
    ]
    contents = {
        "root": _text(KEY_ROOT),
        "generations": {str(n): _text(data) for n, data in GENERATIONS.items()},
        "holders": holders,
    }
    random = nonce(b"keyring")
    place = changes.pop("bound_to", b"keyring\0" + KEYRING.encode())
    box = AESGCM(WRAPPING_KEY).encrypt(random, canonical(contents), place)
    slots = [
        {"recipient": RECIPIENT, "wrapped": _wrapped(RECIPIENT)},
        {
            "recipient": LOCKED_RECIPIENT,
            "passphrase": locked,
            "wrapped": _wrapped(LOCKED_RECIPIENT),
        },
    ]
    payload = {"format": 1, "generations": [1, 2], "slots": slots, "sealed": _text(random + box)}
    return sealed(KEYRING_TYPE, canonical(payload | changes))


def _locked(cost: dict[str, int]) -> dict[str, object]:
    salt, random = b"\x55" * 16, nonce(b"passphrase")
    phrase = PASSPHRASE.replace("e\u0301", "é").encode()
    stretched = Argon2id(
        salt=salt,
        length=32,
        iterations=COST["passes"],
        lanes=COST["lanes"],
        memory_cost=COST["memory_kib"],
    ).derive(phrase)
    box = AESGCM(stretched).encrypt(random, LOCKED_IDENTITY.encode(), LOCKED_RECIPIENT.encode())
    return {"kdf": "argon2id", **cost, "salt": _text(salt), "sealed": _text(random + box)}


def _wrapped(recipient: str) -> str:
    seed = blake3(recipient.encode()).digest()
    return _text(
        age_by_hand.wrap(WRAPPING_KEY, recipient, ephemeral=seed, file_key=nonce(seed) + seed[:4])
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


# --- the store ---


def files() -> Files:
    first, made = checkpoint(0, generation=1)
    _, more = checkpoint(1, generation=2, older=first)
    return {
        "holdfast.json": marker(keyring=RING),
        KEYRING: keyring(),
        f"{KEYRING}-copy": keyring(),
        **made,
        **more,
        **sealed_object(f"{ROOT}tags/best model", tag(RUN, "best model", IDS[0])),
        **sealed_object(f"{ROOT}pins/{'a' * 32}", b'{"id": "%s", "base_parts": []}' % (b"a" * 32)),
        **sealed_journal(f"{ROOT}events.jsonl", (1, b'\n{"event":"saved"}\n'), (2, b"\n{}\n")),
    }


def checkpoint(
    number: int,
    *,
    generation: int,
    older: Packs | None = None,
    stored: Callable[[bytes], bytes] | None = None,
    **more: object,
) -> tuple[Packs, Files]:
    """Return a checkpoint of two arrays, the larger of which is the same in both."""
    tree, arrays = Tree(), Arrays()
    tree.container(K.DICT, 3)
    for name, value in (("big", np.arange(1500, dtype=np.float32)), ("w", np.full(3, number))):
        tree.key(name)
        tree.leaf(K.ARRAY)
        arrays.add(f"numpy:{value.dtype}", value.shape, value.tobytes())
    tree.key("n")
    tree.leaf(K.INT, ints=number)
    tree.finish()
    packs = Packs(
        ROOT, IDS[number], older, named=chunk_id, stored=stored or sealed_chunk(generation)
    )
    packs.add(arrays.chunks, per_pack=4)
    head(tree.message, run=RUN, step=number, id=IDS[number])
    arrays.fill(tree.message.arrays)
    packs.fill(tree.message, arrays.chunks)
    name, part = f"{ROOT}parts/{IDS[number]}-00000", encoded(tree.message)
    record = statement(
        name,
        part,
        run=RUN,
        step=number,
        seq=number + 1,
        id=IDS[number],
        state_bytes=arrays.nbytes,
        n_leaves=tree.leaves,
        stored_bytes=packs.new_bytes + len(part),
        **more,
    )
    return packs, {
        **{stored_key(pack): data for pack, data in packs.objects.items()},
        **sealed_object(name, part, generation),
        **sealed_object(f"{ROOT}commits/{number + 1:012d}", commit(record), generation),
    }
