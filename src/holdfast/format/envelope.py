"""Small records that prove their own integrity: a DSSE envelope around a JSON payload.

Commits, tags and the store marker are written this way. The envelope is the one of DSSE v1
(https://github.com/secure-systems-lab/dsse): a payload, its type, and signatures over PAE(type,
payload). The first entry is always there, key id ``blake3``: its "signature" is the BLAKE3 digest
of the PAE and of the entries behind it. It proves that nothing was damaged, not who wrote it.
Signatures, on commits that have any, follow it.

The encoding is canonical, and a reader refuses any other: no bit of the file can change unseen.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.errors import ManifestDamaged
from holdfast.format.digests import digest

DIGEST_KEY_ID = "blake3"
MAX_ENVELOPE_BYTES = 64 << 20
MAX_SIGNATURES = 64
_KEY_ID = re.compile(r"[a-z0-9-]{1,32}:[0-9a-f]{64}")

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature over an envelope: ``ALGORITHM:FINGERPRINT`` of the key, and the bytes."""

    key_id: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope that was found whole.

    Attributes:
        payload_type: Type of the payload.
        payload: What it holds.
        body: The payload's bytes.
        signatures: By rising key id; whose they are and whether they hold is not known here.
    """

    payload_type: str
    payload: Json
    body: bytes
    signatures: tuple[Signature, ...] = ()

    @property
    def message(self) -> bytes:
        """The bytes that signatures cover."""
        return pae(self.payload_type, self.body)

    @property
    def digest(self) -> bytes:
        """The BLAKE3 digest of the payload; signatures do not change it."""
        return digest(self.body)


Sign = Callable[[bytes], Sequence[Signature]]


def wrap(payload_type: str, payload: Mapping[str, object], sign: Sign | None = None) -> bytes:
    """Return the envelope of payload as canonical JSON bytes.

    Args:
        payload_type: Type of the payload.
        payload: What it shall hold.
        sign: Gives the signatures over the bytes that it is handed; None: there are none.
    """
    body = canonical(payload)
    signatures = sign(pae(payload_type, body)) if sign is not None else ()
    return seal(payload_type, body, signatures)


def unwrap(data: bytes, payload_type: str, *, what: str) -> Json:
    """Return the payload of an envelope that nobody signs, after checking every byte of it.

    Args:
        data: The file's bytes.
        payload_type: The type that the payload must have.
        what: The record's name for error messages, such as ``commit 12 of 'gpt2'``.

    Raises:
        ManifestDamaged: The bytes are not a whole and canonical envelope of that type.
    """
    opened = open_envelope(data, payload_type, what=what)
    if opened.signatures:
        raise _damaged(what)
    return opened.payload


def open_envelope(data: bytes, payload_type: str, *, what: str) -> Envelope:
    """Return what an envelope holds, signatures included, after checking every byte of it.

    Raises:
        ManifestDamaged: The bytes are not a whole and canonical envelope of that type.
    """
    try:
        if len(data) > MAX_ENVELOPE_BYTES:
            raise ValueError("too large")
        outer = json.loads(data)
        body = base64.b64decode(outer["payload"], validate=True)
        payload = json.loads(body)
        signatures = _signatures(outer["signatures"])
        intact = (
            seal(payload_type, body, signatures) == data
            and isinstance(payload, dict)
            and canonical(payload) == body
        )
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise _damaged(what) from error
    if not intact:
        raise _damaged(what)
    return Envelope(payload_type, dict(payload), body, signatures)


def seal(payload_type: str, body: bytes, signatures: Sequence[Signature] = ()) -> bytes:
    """Return the envelope of a payload's bytes with signatures, which come in any order."""
    further = [
        {"keyid": item.key_id, "sig": base64.b64encode(item.value).decode()}
        for item in sorted(signatures, key=lambda item: item.key_id)
    ]
    # The digest covers the signatures too: a bit of them that flips is damage, not forgery.
    covered = pae(payload_type, body) + (canonical(further) if further else b"")
    whole = base64.b64encode(digest(covered)).decode()
    return canonical(
        {
            "payload": base64.b64encode(body).decode(),
            "payloadType": payload_type,
            "signatures": [{"keyid": DIGEST_KEY_ID, "sig": whole}, *further],
        }
    )


def canonical(value: Mapping[str, object] | Sequence[object]) -> bytes:
    """Return JSON with sorted keys, no spaces, ASCII only; NaN and infinities are refused."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def pae(payload_type: str, body: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding, the bytes that a signature covers."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def _signatures(entries: Sequence[Mapping[str, str]]) -> tuple[Signature, ...]:
    """Return the entries behind the first one; that the first is right, its digest tells."""
    if not 1 <= len(entries) <= 1 + MAX_SIGNATURES:
        raise ValueError("too many signatures, or none")
    found = tuple(
        Signature(entry["keyid"], base64.b64decode(entry["sig"], validate=True))
        for entry in entries[1:]
    )
    key_ids = [item.key_id for item in found]
    if any(_KEY_ID.fullmatch(key_id) is None for key_id in key_ids):
        raise ValueError("a key id of another form")
    if len(set(key_ids)) != len(key_ids) or not all(item.value for item in found):
        raise ValueError("a key that signs twice, or not at all")
    return found


def _damaged(what: str) -> ManifestDamaged:
    return ManifestDamaged(
        f"{what} is damaged: its bytes do not match the digest that it carries. "
        "Nothing was loaded from it. 'holdfast verify' lists which checkpoints are good.",
        record=what,
    )
