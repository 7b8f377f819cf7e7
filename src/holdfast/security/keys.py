"""Keys to an encrypted store, as its users hold them: passphrases, identities, recipients.

    Store("ckpts", keys=keys.identity("me.key"))

An *identity* is the private key in a file that ``age-keygen`` or ``holdfast keys new`` has made; a
*recipient* is its public half, ``age1…``, which can be handed to anybody. No secret is ever shown
by ``repr``, in an error or in a log.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from typing import NoReturn, final

from holdfast.errors import InvalidKey, KeyExposed
from holdfast.security import age
from holdfast.security.private_files import read_private, write_secret

__all__ = ["Identity", "Key", "Keys", "Passphrase", "Recipient"]
__all__ += ["identity", "new_identity", "passphrase", "recipient"]

_SECRET = "AGE-SECRET-KEY-"


class _Secret:
    """What must not find its way into a file by itself."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"A {type(self).__name__} is a secret and is not pickled.")


@final
class Passphrase(_Secret):
    """A passphrase, and the private keys that were unlocked with it."""

    def __init__(self, text: str) -> None:
        # Unlocking takes a good part of a second, on purpose; once is enough.
        self.unlocked: dict[bytes, str] = {}
        self._text = text

    def __repr__(self) -> str:
        return "passphrase(…)"

    @property
    def secret(self) -> bytes:
        """The bytes that a key is made of: the same however the text was typed."""
        return unicodedata.normalize("NFC", self._text).encode("utf-8", "surrogatepass")


@final
class Identity(_Secret):
    """Private keys of a file. ``recipients`` are their public halves, in the same order."""

    def __init__(self, path: str, secrets: Sequence[str]) -> None:
        self.path = path
        self.secrets = tuple(secrets)
        self.recipients = tuple(age.recipient_of(secret) for secret in secrets)

    def __repr__(self) -> str:
        return f"identity({self.path!r})"


@final
class Recipient:
    """A public key: it adds somebody to a store, and opens nothing."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"recipient({self.text!r})"


Key = Passphrase | Identity | Recipient
Keys = Key | Sequence[Key]


def passphrase(text: str) -> Passphrase:
    """Return a key made of a passphrase.

    Raises:
        InvalidKey: It is empty.
    """
    if not isinstance(text, str) or not text.strip():
        raise InvalidKey("A passphrase is a text that is not empty.")
    return Passphrase(text)


def identity(file: str | os.PathLike[str]) -> Identity:
    """Return the private keys of an age identity file.

    Args:
        file: The file: lines ``AGE-SECRET-KEY-1…``, and comments behind ``#``. Only its owner may
            be able to read it.

    Raises:
        NotFound: There is no such file.
        KeyExposed: Others can read it.
        InvalidKey: It holds no key, or something else too.
    """
    path = os.fspath(file)
    text = read_private(path, KeyExposed, InvalidKey).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines()]
    secrets = [line for line in lines if line and not line.startswith("#")]
    if not secrets or not all(secret.startswith(_SECRET) for secret in secrets):
        raise InvalidKey(
            f"{path!r} is no identity file: its lines are keys, AGE-SECRET-KEY-1…, and comments. "
            "'holdfast keys new FILE' makes one.",
            path=path,
        )
    return Identity(path, secrets)


def recipient(text: str) -> Recipient:
    """Return a public key.

    Raises:
        InvalidKey: It is none.
    """
    if not isinstance(text, str) or text.startswith(_SECRET):
        raise InvalidKey("A recipient is a public key, age1…; what was given is something else.")
    return Recipient(age.check_recipient(text.strip()))


def new_identity(file: str | os.PathLike[str]) -> Recipient:
    """Make a private key, write it to a new file that only its owner can read.

    Returns:
        Its public half.

    Raises:
        AlreadyExists: There is a file of that name; it is left as it is.
    """
    secret = age.new_identity()
    public = age.recipient_of(secret)
    write_secret(file, f"# public key: {public}\n{secret}\n".encode())
    return Recipient(public)


def as_keys(keys: object) -> tuple[Key, ...]:
    """Return one or several keys as a tuple.

    Raises:
        InvalidKey: Something is no key, or there is none.
    """
    if isinstance(keys, Key):
        return (keys,)
    given = tuple(keys) if isinstance(keys, Sequence) and not isinstance(keys, str | bytes) else ()
    if not given or not all(isinstance(key, Key) for key in given):
        # Not a word of what was given: most likely it is a bare passphrase.
        raise InvalidKey(
            "keys= takes holdfast.keys.passphrase(…), holdfast.keys.identity(FILE), "
            "holdfast.keys.recipient(…), or several of them; what was given is none."
        )
    return given
