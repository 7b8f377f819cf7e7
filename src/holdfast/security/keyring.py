"""The secrets of an encrypted store, and the keys that are made of them.

A *generation* is a random data key: rotation adds one, and what is written from then on is sealed
with it. What must stay the same for as long as the store is there (how names are hidden, how
chunks are named) is made of the *root*, which never changes.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Keyring:
    """Root and generations; nothing of them is shown by ``repr``.

    Attributes:
        root: What the keys are made of that stay.
        generations: Data keys by number; the highest is the one to write with.
    """

    root: bytes = field(repr=False)
    generations: Mapping[int, bytes] = field(repr=False)

    @classmethod
    def new(cls) -> Keyring:
        """Return the keyring of a new store."""
        return cls(os.urandom(KEY_BYTES), {1: os.urandom(KEY_BYTES)})

    @property
    def newest(self) -> int:
        """The generation to write with."""
        return max(self.generations)

    def rotated(self) -> Keyring:
        """Return the keyring with one more generation."""
        more = {**self.generations, self.newest + 1: os.urandom(KEY_BYTES)}
        return replace(self, generations=more)

    def without_old(self) -> Keyring:
        """Return the keyring with its newest generation only."""
        return replace(self, generations={self.newest: self.generations[self.newest]})

    def lasting_key(self, use: str) -> bytes:
        """Return the key for a use that no rotation changes: ``names`` or ``chunk-ids``."""
        return derived(self.root, use)

    def data_key(self, generation: int, use: str) -> bytes | None:
        """Return a generation's key for a use, ``records`` or ``chunks``; None if it is unknown."""
        secret = self.generations.get(generation)
        return None if secret is None else derived(secret, use)


def derived(secret: bytes, use: str) -> bytes:
    """Return the key for one use of a secret: HKDF-SHA256, no salt."""
    label = f"holdfast/1 {use}".encode()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=label).derive(secret)


def to_json(keyring: Keyring) -> dict[str, object]:
    """Return a keyring as plain JSON: secrets, to be sealed or handed to one's own process."""
    generations = {str(n): _text(key) for n, key in keyring.generations.items()}
    return {"root": _text(keyring.root), "generations": generations}


def from_json(found: Mapping[str, object]) -> Keyring:
    """Return the keyring of ``to_json``.

    Raises:
        ValueError, KeyError, TypeError: It is none.
    """
    generations = found["generations"]
    if not isinstance(generations, dict) or not generations:
        raise ValueError("no generations")
    known = {_number(n): _key(key) for n, key in generations.items()}
    return Keyring(_key(found["root"]), known)


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _number(text: object) -> int:
    number = int(str(text))
    if not 0 < number < 2**32 or str(number) != text:
        raise ValueError("no number of a generation")
    return number


def _key(text: object) -> bytes:
    key = base64.b64decode(str(text), validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError("no key")
    return key
