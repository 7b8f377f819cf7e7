"""Who can open a store: each holder has an X25519 key, for which the store's own key is wrapped.

A passphrase is a holder too: its private key is made at random and sealed under a key that
Argon2id makes of the passphrase. So the store's key can be changed and wrapped anew for everybody
who stays by their public keys alone; nobody has to type a passphrase for it.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from holdfast.errors import InvalidKey
from holdfast.security import age
from holdfast.security.keys import Identity, Key, Passphrase, Recipient

_SALT_BYTES, _NONCE_BYTES, _KEY_BYTES = 16, 12, 32


@dataclass(frozen=True, slots=True)
class Cost:
    """What Argon2id is to cost. The default is the second of RFC 9106, section 4."""

    memory_kib: int = 64 << 10
    passes: int = 3
    lanes: int = 4

    def __post_init__(self) -> None:
        # Whoever can write to the store could make its readers run out of memory, or wait for ever.
        if not (
            8 * self.lanes <= self.memory_kib <= 1 << 20
            and 1 <= self.passes <= 16
            and 1 <= self.lanes <= 16
        ):
            raise ValueError("the cost of Argon2id is out of bounds")


@dataclass(frozen=True, slots=True)
class Locked:
    """A private key sealed under a passphrase."""

    cost: Cost
    salt: bytes
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody who can open the store.

    Attributes:
        recipient: Public key.
        label: Who it is, for people.
        locked: The private key, where it belongs to a passphrase.
    """

    recipient: str
    label: str = ""
    locked: Locked | None = None

    @property
    def kind(self) -> str:
        """``passphrase`` or ``recipient``."""
        return "recipient" if self.locked is None else "passphrase"


def holders_of(key: Key, label: str = "", cost: Cost | None = None) -> list[Holder]:
    """Return the holders that a key makes: one for each private key of a file."""
    if isinstance(key, Recipient):
        return [Holder(key.text, label)]
    if isinstance(key, Identity):
        return [Holder(recipient, label) for recipient in key.recipients]
    return [_locked_holder(key, label, cost or Cost())]


def _locked_holder(key: Passphrase, label: str, cost: Cost) -> Holder:
    private = age.new_identity()
    recipient = age.recipient_of(private)
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    box = AESGCM(_stretched(key, salt, cost)).encrypt(nonce, private.encode(), recipient.encode())
    key.unlocked[salt] = private
    return Holder(recipient, label, Locked(cost, salt, nonce + box))


def identities(keys: Sequence[Key], holders: Sequence[Holder]) -> Iterator[tuple[Holder, str]]:
    """Yield the holders that some of the keys belong to, each with its private key.

    Public keys are compared first, since passphrases take their time.
    """
    for holder in holders:
        for key in keys:
            if isinstance(key, Identity) and holder.recipient in key.recipients:
                yield holder, key.secrets[key.recipients.index(holder.recipient)]
    for holder in holders:
        for key in keys:
            if isinstance(key, Passphrase) and holder.locked is not None:
                private = _unlocked(key, holder, holder.locked)
                if private is not None:
                    yield holder, private


def _unlocked(key: Passphrase, holder: Holder, locked: Locked) -> str | None:
    if locked.salt not in key.unlocked:
        cipher = AESGCM(_stretched(key, locked.salt, locked.cost))
        nonce, box = locked.sealed[:_NONCE_BYTES], locked.sealed[_NONCE_BYTES:]
        try:
            private = cipher.decrypt(nonce, box, holder.recipient.encode()).decode()
        except (InvalidTag, ValueError):
            return None
        key.unlocked[locked.salt] = private
    return key.unlocked[locked.salt]


def _stretched(key: Passphrase, salt: bytes, cost: Cost) -> bytes:
    return Argon2id(
        salt=salt,
        length=_KEY_BYTES,
        iterations=cost.passes,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    ).derive(key.secret)


def to_json(holder: Holder) -> dict[str, object]:
    """Return a holder, but for the label, as plain JSON: nothing of it is secret."""
    if holder.locked is None:
        return {"recipient": holder.recipient}
    cost, locked = holder.locked.cost, holder.locked
    passphrase = {
        "kdf": "argon2id",
        "memory_kib": cost.memory_kib,
        "passes": cost.passes,
        "lanes": cost.lanes,
        "salt": _text(locked.salt),
        "sealed": _text(locked.sealed),
    }
    return {"recipient": holder.recipient, "passphrase": passphrase}


def from_json(found: Mapping[str, object], label: str = "") -> Holder:
    """Return the holder of ``to_json``.

    Raises:
        ValueError, KeyError, TypeError: It is none, or would cost too much to unlock.
    """
    recipient, passphrase = found["recipient"], found.get("passphrase")
    if not isinstance(recipient, str) or not isinstance(label, str):
        raise ValueError("no recipient")
    try:
        age.check_recipient(recipient)
    except InvalidKey as error:
        raise ValueError("no recipient") from error
    if passphrase is None:
        return Holder(recipient, label)
    if not isinstance(passphrase, dict) or passphrase["kdf"] != "argon2id":
        raise ValueError("no passphrase of a kind that is known")
    cost = Cost(*(_count(passphrase[name]) for name in ("memory_kib", "passes", "lanes")))
    salt, sealed = _bytes(passphrase["salt"]), _bytes(passphrase["sealed"])
    if len(salt) != _SALT_BYTES or len(sealed) <= _NONCE_BYTES:
        raise ValueError("no salt, or nothing sealed")
    return Holder(recipient, label, Locked(cost, salt, sealed))


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("no count")
    return value


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: object) -> bytes:
    return base64.b64decode(str(text), validate=True)
