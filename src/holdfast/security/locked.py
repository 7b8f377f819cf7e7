"""Keyrings as bytes: who can open them in the open, everything else sealed.

The keys of a store are sealed with a wrapping key, and that is wrapped for each holder. The names
and public keys of the holders are sealed as well: a change wraps for those, and somebody who can
only write to the store cannot put his own key in the place of another's.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.errors import ManifestDamaged, StoreTooNew
from holdfast.format import envelope
from holdfast.format.names import keyring_key
from holdfast.security import age
from holdfast.security import holders as holder_format
from holdfast.security import keyring as keyring_format
from holdfast.security.holders import Holder
from holdfast.security.unlocked import Unlocked

FORMAT = 1
PAYLOAD_TYPE = "application/vnd.holdfast.keyring+json"
MAX_HOLDERS = 256
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Locked:
    """A keyring as it lies in a store.

    Attributes:
        ring: Its id.
        number: How often it was changed, and once for its making.
        slots: Who can open it, each with the wrapping key wrapped for them.
        generations: The generations of its data keys.
        sealed: The rest.
    """

    ring: str
    number: int
    slots: Sequence[tuple[Holder, bytes]]
    generations: Sequence[int]
    sealed: bytes


def encode(unlocked: Unlocked) -> bytes:
    """Return the bytes of a keyring."""
    secrets = keyring_format.to_json(unlocked.keyring)
    holders = [{**holder_format.to_json(h), "label": h.label} for h in unlocked.holders]
    nonce = os.urandom(_NONCE_BYTES)
    body = envelope.canonical({**secrets, "holders": holders})
    box = AESGCM(unlocked.wrapping_key).encrypt(
        nonce, body, _bound_to(unlocked.ring, unlocked.number)
    )
    slots = [
        {
            **holder_format.to_json(holder),
            "wrapped": _text(age.wrap(unlocked.wrapping_key, holder.recipient)),
        }
        for holder in unlocked.holders
    ]
    payload = {
        "format": FORMAT,
        "generations": sorted(unlocked.keyring.generations),
        "slots": slots,
        "sealed": _text(nonce + box),
    }
    return envelope.wrap(PAYLOAD_TYPE, payload)


def decode(ring: str, number: int, data: bytes) -> Locked:
    """Return the keyring of an object's bytes.

    Raises:
        ManifestDamaged: The bytes are none.
        StoreTooNew: A newer version of holdfast wrote them.
    """
    what = _what(ring, number)
    try:
        payload = envelope.unwrap(data, PAYLOAD_TYPE, what=what)
    except ManifestDamaged as error:
        raise damaged(what) from error
    if payload.get("format") != FORMAT:
        raise StoreTooNew(
            f"{what} has format {payload.get('format')}; this version of holdfast reads {FORMAT}. "
            "Nothing is wrong with it: upgrade holdfast.",
            found=payload.get("format"),
            supported=FORMAT,
        )
    try:
        slots = _list(payload["slots"])
        if len(slots) > MAX_HOLDERS:
            raise ValueError("too many holders")
        generations = [n for n in _list(payload["generations"]) if isinstance(n, int)]
        sealed = _bytes(payload["sealed"])
        found = [(holder_format.from_json(slot), _bytes(slot["wrapped"])) for slot in slots]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(what) from error
    return Locked(ring, number, found, generations, sealed)


def opened(locked: Locked, wrapping_key: bytes) -> Unlocked:
    """Return an opened keyring.

    Raises:
        ManifestDamaged: The wrapping key does not open it, or what is in it makes no sense.
    """
    what = _what(locked.ring, locked.number)
    nonce, box = locked.sealed[:_NONCE_BYTES], locked.sealed[_NONCE_BYTES:]
    try:
        body = AESGCM(wrapping_key).decrypt(nonce, box, _bound_to(locked.ring, locked.number))
        found = json.loads(body)
        keyring = keyring_format.from_json(found)
        holders = tuple(_labelled(entry) for entry in _list(found["holders"]))
        if sorted(keyring.generations) != list(locked.generations):
            raise ValueError("other generations")
    except (InvalidTag, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(what) from error
    return Unlocked(locked.ring, locked.number, wrapping_key, keyring, holders)


def _labelled(entry: Mapping[str, object]) -> Holder:
    return holder_format.from_json(entry, str(entry["label"]))


def _bound_to(ring: str, number: int) -> bytes:
    return b"keyring\0" + keyring_key(ring, number).encode()


def _what(ring: str, number: int) -> str:
    return f"the keyring of the store ({keyring_key(ring, number)})"


def damaged(what: str) -> ManifestDamaged:
    """Return the error for a keyring that is damaged."""
    return ManifestDamaged(
        f"{what} is damaged. Without it nothing of the store can be opened; what is in the store "
        "is not affected. Bring it back from a copy of the store.",
        record=what,
    )


def _list(value: object) -> list[Mapping[str, object]]:
    if not isinstance(value, list):
        raise ValueError("no list")
    return value


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: object) -> bytes:
    return base64.b64decode(str(text), validate=True)
