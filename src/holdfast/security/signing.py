"""Who signs: key files, and signers that the caller brings along (an agent, a KMS)."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from holdfast.errors import AlreadyExists, BadKeyFile, SigningFailed, UsageError
from holdfast.format.envelope import Signature
from holdfast.security.private_files import PRIVATE, PUBLIC, read_private, write_new

# cryptography is imported where a key is used, so that who signs nothing starts without it.
if TYPE_CHECKING:
    from holdfast.security.ed25519 import LocalKey

_log = logging.getLogger("holdfast")


@runtime_checkable
class Signer(Protocol):
    """Something that holds an Ed25519 key and signs with it."""

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature of a message (RFC 8032, not pre-hashed), 64 bytes."""
        ...


class SignerGone(Exception):
    """The signer lived in a process that has ended; nobody can be asked any more."""


def key_file(
    path: str | os.PathLike[str],
    *,
    passphrase: str | None = None,
    passphrase_file: str | os.PathLike[str] | None = None,
) -> LocalKey:
    """Return the signer of a private key file: Ed25519, PEM (PKCS#8).

    Args:
        path: The file; only its owner may be allowed to read it.
        passphrase: Of a key that is encrypted.
        passphrase_file: A file with that passphrase, private as well; one newline at its end
            does not count.

    Raises:
        NotFound: There is no such file.
        BadKeyFile: It is no such key, others may read it, or the passphrase is wrong.
    """
    from holdfast.security.ed25519 import LocalKey

    name = os.fspath(path)
    if passphrase_file is not None:
        passphrase = read_passphrase(passphrase_file)
    return LocalKey.from_pem(read_private(name, BadKeyFile), passphrase, what=f"{name!r}")


def is_encrypted(path: str | os.PathLike[str]) -> bool:
    """Say whether a private key file wants a passphrase.

    Raises:
        NotFound: There is no such file.
        BadKeyFile: Others may read it.
    """
    return b"ENCRYPTED" in read_private(os.fspath(path), BadKeyFile)


def read_passphrase(path: str | os.PathLike[str]) -> str:
    """Return the passphrase in a private file.

    Raises:
        NotFound: There is no such file.
        BadKeyFile: Others may read it, or it is empty.
    """
    name = os.fspath(path)
    data = read_private(name, BadKeyFile)
    try:
        text = data.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise BadKeyFile(f"{name!r} holds no text.", file=name) from error
    if not text:
        raise BadKeyFile(f"{name!r} is empty; a passphrase was expected.", file=name)
    return text


def new_key_file(path: str | os.PathLike[str], *, passphrase: str | None = None) -> LocalKey:
    """Make a signing key: the private half at ``path`` (0600), the public one at ``path.pub``.

    Raises:
        AlreadyExists: One of the two is there; nothing was changed.
    """
    from holdfast.security import ed25519

    key = ed25519.LocalKey.new()
    write_key_pair(os.fspath(path), key.to_pem(passphrase), ed25519.public_to_pem(key.public_key))
    return key


def write_key_pair(path: str, private_pem: bytes, public_pem: bytes) -> None:
    """Write the two halves of a new key, at ``path`` and ``path.pub``.

    Raises:
        AlreadyExists: One of the two is there; nothing was changed.
    """
    for taken in (path, f"{path}.pub"):
        if os.path.lexists(taken):
            raise AlreadyExists(
                f"{taken!r} is there already. No key was made: one that is written over is lost.",
                path=taken,
            )
    write_new(path, private_pem, mode=PRIVATE)
    write_new(f"{path}.pub", public_pem, mode=PUBLIC)


def as_signers(sign: Signer | Sequence[Signer] | None) -> tuple[Signer, ...]:
    """Return what a ``sign=`` argument names.

    Raises:
        UsageError: It is no signer, or one key comes twice.
    """
    found = () if sign is None else tuple(sign) if isinstance(sign, list | tuple) else (sign,)
    for item in found:
        if not isinstance(item, Signer):
            raise UsageError(
                "sign= takes what holdfast.signing.key_file gives, or an object with public_key "
                f"and sign(); not a {type(item).__name__}."
            )
        if not isinstance(item.public_key, bytes) or len(item.public_key) != 32:
            raise UsageError("The public_key of a signer is the 32 bytes of an Ed25519 key.")
    if len({item.public_key for item in found}) != len(found):
        raise UsageError("sign= has the same key twice.")
    return found


def signatures(signers: Sequence[Signer], message: bytes) -> tuple[Signature, ...]:
    """Return a signature of each signer, checked; those that are gone are left out, and told.

    Raises:
        SigningFailed: A signer gave none, or one that is not good.
    """
    made = []
    for signer in signers:
        try:
            made.append(_signature(signer, message))
        except SignerGone as error:
            _log.warning(
                "A checkpoint is not signed by %s: %s. 'holdfast sign' can sign it afterwards.",
                _name(signer),
                error,
            )
    return tuple(made)


def _signature(signer: Signer, message: bytes) -> Signature:
    from holdfast.security import ed25519

    try:
        value = signer.sign(message)
    except (SignerGone, SigningFailed):
        raise
    except Exception as error:
        raise SigningFailed(
            f"The signer {_name(signer)} failed: {type(error).__name__}: {error}. Nothing was "
            "committed; checkpoints committed before are safe.",
            key=_name(signer),
        ) from error
    if not isinstance(value, bytes) or not ed25519.is_good(signer.public_key, message, value):
        raise SigningFailed(
            f"What the signer {_name(signer)} gave is no signature by its key. Nothing was "
            "committed; checkpoints committed before are safe.",
            key=_name(signer),
        )
    return Signature(ed25519.key_id(signer.public_key), value)


def _name(signer: Signer) -> str:
    from holdfast.security import ed25519

    return ed25519.key_id(signer.public_key)
