"""Secrets wrapped for X25519 keys in the format of age (https://age-encryption.org/v1).

Only short secrets: what is bulk is sealed by ``seal`` and by the chunks' own seal.
"""

from __future__ import annotations

import importlib
from typing import Any

from holdfast.errors import InvalidKey, MissingDependency


def new_identity() -> str:
    """Return a new private key, ``AGE-SECRET-KEY-1…``."""
    return str(_pyrage().x25519.Identity.generate())


def recipient_of(identity: str) -> str:
    """Return the public key, ``age1…``, of a private one.

    Raises:
        InvalidKey: It is none.
    """
    return str(_identity(identity).to_public())


def check_recipient(text: str) -> str:
    """Return text if it is a public key.

    Raises:
        InvalidKey: It is none.
    """
    _recipient(text)
    return text


def wrap(secret: bytes, recipient: str) -> bytes:
    """Return a secret that only the holder of the recipient's private key can unwrap."""
    return bytes(_pyrage().encrypt(secret, [_recipient(recipient)]))


def unwrap(wrapped: bytes, identity: str) -> bytes | None:
    """Return a wrapped secret, or None where it is damaged or another's."""
    key, library = _identity(identity), _pyrage()
    try:
        return bytes(library.decrypt(wrapped, [key]))
    except library.DecryptError:
        return None


def _recipient(text: str) -> Any:
    library = _pyrage()
    try:
        return library.x25519.Recipient.from_str(text)
    except library.RecipientError as error:
        # Not a word of the text: a private key may have got into it.
        raise InvalidKey(
            "This is no public key: one begins with 'age1', and is whole. 'holdfast keys new FILE' "
            "makes a key and shows it."
        ) from error


def _identity(text: str) -> Any:
    library = _pyrage()
    try:
        return library.x25519.Identity.from_str(text)
    except library.IdentityError as error:
        # Not a word of the text: it may be a secret that was mistyped.
        raise InvalidKey(
            "This is no private key: one is a line that begins with 'AGE-SECRET-KEY-1'."
        ) from error


# Any: the library has no types.
def _pyrage() -> Any:
    try:
        return importlib.import_module("pyrage")
    except ImportError as error:
        raise MissingDependency(
            "Encryption needs the package pyrage: pip install 'holdfast[encryption]'."
        ) from error
