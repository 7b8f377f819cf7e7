"""The part of ``spec_reader`` that opens encrypted stores; made from docs/spec/v1.md alone, too."""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
import unicodedata
from pathlib import Path
from typing import Any

import age_by_hand
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from spec_reader import Plain, Refused, refuse_unless, too_new_unless, unwrap

KEYRING_TYPE = "application/vnd.holdfast.keyring+json"


def opened(secret: bytes, nonce: bytes, box: bytes, bound_to: bytes) -> bytes:
    try:
        return AESGCM(secret).decrypt(nonce, box, bound_to)
    except (InvalidTag, ValueError) as error:
        raise Refused("a broken seal") from error


def octets(word: Any) -> bytes:
    try:
        return base64.b64decode(word, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise Refused("no base64") from error


# --- the keyring ---


def keyring(store: Plain, ring: str, secret: str) -> dict[str, Any]:
    """Return what is sealed in the newest keyring."""
    refuse_unless(re.fullmatch(r"[0-9a-f]{32}", str(ring)), "no keyring")
    names = {name.removesuffix("-copy") for name in store.listed(f"keys/{ring}")}
    refuse_unless(names, "the keyring is missing")
    newest = f"keys/{ring}/{max(names)}"
    why = Refused("no keyring")
    for key in (newest, f"{newest}-copy"):
        try:
            return one_keyring(unwrap(store.get(key), KEYRING_TYPE), newest, secret)
        except Refused as error:
            why = error
    raise why


def one_keyring(payload: dict[str, Any], key: str, secret: str) -> dict[str, Any]:
    too_new_unless(payload.get("format") == 1, "the keyring's format")
    try:
        wrapping_key = unwrapped(payload["slots"], secret)
        sealed = octets(payload["sealed"])
        place = b"keyring\0" + key.encode()
        found = json.loads(opened(wrapping_key, sealed[:12], sealed[12:], place))
        generations = {int(n): octets(data) for n, data in found["generations"].items()}
        refuse_unless(payload["generations"] == sorted(generations), "other generations")
        return {"root": octets(found["root"]), "generations": generations}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Refused(f"malformed: {error!r}") from error


def unwrapped(slots: list[dict[str, Any]], secret: str) -> bytes:
    refuse_unless(len(slots) <= 256, "too many holders")
    refuse_unless(all(affordable(s["passphrase"]) for s in slots if "passphrase" in s), "the cost")
    for slot in slots:
        locked, private = slot.get("passphrase"), secret
        try:
            if locked is not None and not secret.startswith("AGE-SECRET-KEY-"):
                private = unlocked(locked, secret, slot["recipient"])
            return age_by_hand.unwrap(octets(slot["wrapped"]), private)
        except (Refused, InvalidTag, ValueError, IndexError):
            continue
    raise Refused("nothing that opens it")


def affordable(locked: dict[str, Any]) -> bool:
    memory_kib, passes, lanes = (locked[name] for name in ("memory_kib", "passes", "lanes"))
    fits = 8 * lanes <= memory_kib <= 1 << 20 and 1 <= passes <= 16 and 1 <= lanes <= 16
    return fits and len(octets(locked["salt"])) == 16 and locked["kdf"] == "argon2id"


def unlocked(locked: dict[str, Any], passphrase: str, recipient: str) -> str:
    stretched = Argon2id(
        salt=octets(locked["salt"]),
        length=32,
        iterations=locked["passes"],
        lanes=locked["lanes"],
        memory_cost=locked["memory_kib"],
    ).derive(unicodedata.normalize("NFC", passphrase).encode())
    sealed = octets(locked["sealed"])
    return opened(stretched, sealed[:12], sealed[12:], recipient.encode()).decode()


# --- names, objects, chunks ---


class Sealed(Plain):
    """An encrypted store in a folder."""

    is_sealed = True

    def __init__(self, folder: Path, ring: str, secret: str) -> None:
        super().__init__(folder)
        found = keyring(Plain(folder), ring, secret)
        self.generations = found["generations"]
        self.names = self.derived(found["root"], "names")
        self.ids = self.derived(found["root"], "chunk-ids")

    def derived(self, secret: bytes, use: str) -> bytes:
        return age_by_hand.hkdf(secret, b"", b"holdfast/1 " + use.encode())

    def data_key(self, generation: int, use: str) -> bytes:
        refuse_unless(generation in self.generations, "an unknown generation")
        return self.derived(self.generations[generation], use)

    def stored(self, key: str) -> str:
        parts = key.split("/")
        if len(parts) > 3 and parts[2] in ("tags", "names"):
            parts[3] = self.hidden("tag", parts[1], parts[3])
        if len(parts) > 1 and parts[0] == "runs":
            parts[1] = self.hidden("run", parts[1])
        return "/".join(parts)

    def hidden(self, *parts: str) -> str:
        return blake3("\0".join(parts).encode(), key=self.names).hexdigest()

    def get(self, key: str) -> bytes:
        found, data = self.object_at(self.stored(key))
        refuse_unless(found == key, "another object")
        return data

    def object_at(self, stored: str) -> tuple[str, bytes]:
        data = super().get(stored)
        refuse_unless(len(data) >= 36 and data.startswith(b"HFS\1"), "not sealed")
        (generation,) = struct.unpack_from("<I", data, 4)
        place = data[:8] + b"object\0" + stored.encode()
        plain = opened(self.data_key(generation, "records"), data[8:20], data[20:], place)
        end = 2 + int.from_bytes(plain[:2], "little")
        return plain[2:end].decode(), plain[end:]

    def listed(self, folder: str) -> list[str]:
        """Return names: where they are hidden, what lies there tells them."""
        names = super().listed(self.stored(folder))
        if folder == "runs":
            return sorted(self.run_in(name) for name in names)
        if folder.endswith(("/tags", "/names")):
            found = (self.object_at(f"{self.stored(folder)}/{name}")[0] for name in names)
            return sorted(key.rsplit("/", 1)[1] for key in found)
        return names

    def run_in(self, name: str) -> str:
        for path in sorted((self.folder / "runs" / name).rglob("*")):
            try:
                if path.is_file() and path.parent.name != "packs":
                    key = self.object_at(str(path.relative_to(self.folder)))[0]
                    return key.split("/")[1]
            except Refused:
                continue
        raise Refused("nothing tells whose folder it is")

    def digest(self, chunk: bytes) -> bytes:
        return blake3(chunk, key=self.ids).digest()

    def chunk(self, key: str, offset: int, length: int, name: bytes) -> bytes:
        sealed = Plain.get(self, self.stored(key))[offset : offset + length + 32]
        refuse_unless(len(sealed) == length + 32, "a chunk that is cut short")
        nonce, generation = sealed[-16:-4], int.from_bytes(sealed[-4:], "little")
        key_of_chunk = self.data_key(generation, "chunks")
        return opened(key_of_chunk, nonce, sealed[: length + 16], name)
