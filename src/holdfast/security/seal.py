"""Bytes sealed with AES-256-GCM: whole objects, lines of journals, and chunks in place.

A sealed object is ``magic ‖ generation ‖ nonce ‖ ciphertext ‖ tag``; a sealed chunk is
``ciphertext ‖ tag ‖ nonce ‖ generation``, so that its bytes stay aligned. Nonces are random:
two processes may write the same chunk at the same time, and never with the same nonce.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import GCM

from holdfast.security.keyring import Keyring

MAGIC: Final = b"HFS\x01"
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
_HEAD = struct.Struct("<4sI")
_TRAILER = struct.Struct("<16s12sI")
OVERHEAD_BYTES: Final = _HEAD.size + NONCE_BYTES + TAG_BYTES
TRAILER_BYTES: Final = _TRAILER.size


class Unsealable(Exception):
    """The bytes were not sealed like this with a key of the keyring; says what is known."""


class Seals:
    """Seals and opens with the keys of a keyring. May be used by several threads.

    Args:
        keyring: Where the keys come from.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._keys: dict[tuple[int, str], bytes] = {}
        self._lock = threading.Lock()
        # Called where something is sealed with a generation that is not known: somebody may have
        # changed the keys meanwhile.
        self.look_again: Callable[[], None] = lambda: None

    @property
    def keyring(self) -> Keyring:
        """Where the keys come from."""
        return self._keyring

    def take_up(self, keyring: Keyring) -> None:
        """Seal and open with other keys from now on."""
        with self._lock:
            self._keyring = keyring
            self._keys.clear()

    def seal(self, data: bytes, *, bound_to: bytes) -> bytes:
        """Return data sealed; it opens only with the same ``bound_to``."""
        generation = self.keyring.newest
        head, nonce = _HEAD.pack(MAGIC, generation), os.urandom(NONCE_BYTES)
        cipher = self._cipher(generation, "records")
        return head + nonce + cipher.encrypt(nonce, data, head + bound_to)

    def open(self, sealed: bytes, *, bound_to: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            Unsealable: It was not, or with another key, or bound to something else.
        """
        if len(sealed) < OVERHEAD_BYTES or not sealed.startswith(MAGIC):
            raise Unsealable("it is not sealed")
        head, body = sealed[: _HEAD.size], memoryview(sealed)[_HEAD.size :]
        cipher = self._cipher(_HEAD.unpack(head)[1], "records")
        try:
            return cipher.decrypt(bytes(body[:NONCE_BYTES]), body[NONCE_BYTES:], head + bound_to)
        except InvalidTag as error:
            raise Unsealable("its seal is broken") from error

    def generation_of(self, sealed: bytes) -> int:
        """Return the generation that an object says it was sealed with; 0 if it is not sealed."""
        if len(sealed) < OVERHEAD_BYTES or not sealed.startswith(MAGIC):
            return 0
        generation: int = _HEAD.unpack_from(sealed)[1]
        return generation

    def seal_chunk(self, data: memoryview, name: bytes, into: memoryview) -> None:
        """Fill into with a sealed chunk; it is ``TRAILER_BYTES`` longer than data."""
        generation, nonce = self.keyring.newest, os.urandom(NONCE_BYTES)
        end = data.nbytes + TAG_BYTES
        self._cipher(generation, "chunks").encrypt_into(nonce, data, name, into[:end])
        into[end:] = nonce + struct.pack("<I", generation)

    def generation_of_chunk(self, trailer: bytes) -> int:
        """Return the generation that a chunk says it was sealed with."""
        generation: int = _TRAILER.unpack(trailer)[2]
        return generation

    def chunk_opener(self, trailer: bytes, name: bytes) -> ChunkOpener:
        """Return what opens a chunk.

        Args:
            trailer: The last ``TRAILER_BYTES`` of the sealed chunk.
            name: The chunk's id.

        Raises:
            Unsealable: It was sealed with a key that is not in the keyring.
        """
        tag, nonce, generation = _TRAILER.unpack(trailer)
        return ChunkOpener(self._key(generation, "chunks"), nonce, tag, name)

    def _cipher(self, generation: int, use: str) -> AESGCM:
        return AESGCM(self._key(generation, use))

    def _key(self, generation: int, use: str) -> bytes:
        key = self._known_key(generation, use)
        if key is None:
            self.look_again()
            key = self._known_key(generation, use)
        if key is None:
            raise Unsealable(f"its key, generation {generation}, is not in the keyring")
        return key

    def _known_key(self, generation: int, use: str) -> bytes | None:
        with self._lock:
            if (generation, use) not in self._keys:
                key = self.keyring.data_key(generation, use)
                if key is None:
                    return None
                self._keys[generation, use] = key
            return self._keys[generation, use]


class ChunkOpener:
    """Opens one chunk, piece by piece. No byte of it counts before ``finish`` has returned."""

    def __init__(self, key: bytes, nonce: bytes, tag: bytes, name: bytes) -> None:
        self._tag = tag
        self._context = Cipher(AES256(key), GCM(nonce)).decryptor()
        self._context.authenticate_additional_data(name)

    def add(self, stored: memoryview, into: memoryview) -> None:
        """Open the next stored bytes into memory of the same size, which may be the same."""
        self._context.update_into(stored, into)

    def finish(self) -> None:
        """Make sure that all that was added is what was sealed under the name.

        Raises:
            Unsealable: It is not, or something is missing.
        """
        try:
            self._context.finalize_with_tag(self._tag)
        except InvalidTag as error:
            raise Unsealable("its seal is broken") from error
