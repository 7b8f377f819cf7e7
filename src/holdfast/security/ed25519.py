"""Ed25519: keys in PEM, fingerprints, signatures made and checked."""

from __future__ import annotations

import hashlib
from typing import final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from holdfast.errors import BadKeyFile
from holdfast.security import pem as pem_keys

ALGORITHM = "ed25519"
KEY_BYTES = 32
SIGNATURE_BYTES = 64
_RAW = serialization.Encoding.Raw


@final
class LocalKey:
    """A private key in the memory of this process; a ``Signer``."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    def __repr__(self) -> str:
        return f"LocalKey({key_id(self.public_key)})"

    @classmethod
    def new(cls) -> LocalKey:
        """Return a new random key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> LocalKey:
        """Return the key of its 32 secret bytes."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: str | None, *, what: str) -> LocalKey:
        """Return the key of a PKCS#8 PEM.

        Raises:
            BadKeyFile: It is none, or the passphrase is not the right one.
        """
        found = pem_keys.load_private(pem, passphrase, what=what)
        if not isinstance(found, Ed25519PrivateKey):
            raise BadKeyFile(
                f"{what} is a {type(found).__name__}; checkpoints are signed with Ed25519 keys. "
                "'holdfast sign --new-key FILE' makes one.",
                file=what,
            )
        return cls(found)

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""
        return self._private.public_key().public_bytes(_RAW, serialization.PublicFormat.Raw)

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes."""
        return self._private.private_bytes(
            _RAW, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        )

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes."""
        return self._private.sign(message)

    def to_pem(self, passphrase: str | None = None) -> bytes:
        """Return the key as PKCS#8 PEM, encrypted where there is a passphrase."""
        return pem_keys.private_to_pem(self._private, passphrase)


def key_id(public_key: bytes) -> str:
    """Return how signatures name a key: SHA-256 of its SubjectPublicKeyInfo in DER.

    >>> key_id(bytes(32))[:24]
    'ed25519:06e9d50b0f2a5e1f'
    """
    der = _public(public_key).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return f"{ALGORITHM}:{hashlib.sha256(der).hexdigest()}"


def is_good(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether a signature of a message is the key's."""
    try:
        _public(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def public_to_pem(public_key: bytes) -> bytes:
    """Return a public key as PEM (SubjectPublicKeyInfo)."""
    return pem_keys.public_to_pem(_public(public_key))


def public_from_pem(pem: bytes, *, what: str) -> bytes:
    """Return the 32 bytes of a public key in PEM.

    Raises:
        BadKeyFile: It is none.
    """
    found = pem_keys.load_public(pem, what=what)
    if not isinstance(found, Ed25519PublicKey):
        raise BadKeyFile(f"{what} is a {type(found).__name__}, not an Ed25519 key.", file=what)
    return found.public_bytes(_RAW, serialization.PublicFormat.Raw)


def _public(public_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public_key)
