"""Keys as PEM: PKCS#8 for private ones, encrypted or not, SubjectPublicKeyInfo for public ones."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from holdfast.errors import BadKeyFile

_PEM = serialization.Encoding.PEM


def load_private(pem: bytes, passphrase: str | None, *, what: str) -> object:
    """Return the private key in a PEM, of whatever kind it is.

    Raises:
        BadKeyFile: There is none, or the passphrase is not the right one.
    """
    secret = passphrase.encode() if passphrase else None
    try:
        return serialization.load_pem_private_key(pem, secret)
    except TypeError as error:
        why = "is encrypted: a passphrase is needed" if secret is None else "has no passphrase"
        raise BadKeyFile(f"{what} {why}. Nothing was signed.", file=what) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        why = "is no private key in PEM" if secret is None else "is no key of that passphrase"
        raise BadKeyFile(f"{what} {why}. Nothing was signed.", file=what) from error


def load_public(pem: bytes, *, what: str) -> object:
    """Return the public key in a PEM, of whatever kind it is.

    Raises:
        BadKeyFile: There is none.
    """
    try:
        return serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = " It is a private key: give the public one." if b"PRIVATE KEY" in pem else ""
        raise BadKeyFile(f"{what} is no public key in PEM.{hint}", file=what) from error


def private_to_pem(
    key: Ed25519PrivateKey | EllipticCurvePrivateKey, passphrase: str | None
) -> bytes:
    """Return a private key as PKCS#8, encrypted where there is a passphrase."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, encryption)


def public_to_pem(key: Ed25519PublicKey | EllipticCurvePublicKey) -> bytes:
    """Return a public key as SubjectPublicKeyInfo."""
    return key.public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
