"""Small records that prove their own integrity: a DSSE envelope around a JSON payload.

Commits, tags and the store marker are written this way. The envelope is the one of DSSE v1
(https://github.com/secure-systems-lab/dsse): a payload, its type, and signatures over PAE(type,
payload). An unsigned record still carries one entry, key id ``blake3``, whose "signature" is
the BLAKE3 digest of the PAE: it proves that nothing was damaged, not who wrote it.

The encoding is canonical, and a reader refuses any other: no bit of the file can change unseen.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

from holdfast.errors import ManifestDamaged
from holdfast.format.digests import digest

DIGEST_KEY_ID = "blake3"
MAX_ENVELOPE_BYTES = 64 << 20

Json = dict[str, object]


def wrap(payload_type: str, payload: Mapping[str, object]) -> bytes:
    """Return the envelope of payload as canonical JSON bytes."""
    body = canonical(payload)
    return _envelope(payload_type, body)


def unwrap(data: bytes, payload_type: str, *, what: str) -> Json:
    """Return the payload of an envelope after checking every byte of it.

    Args:
        data: The file's bytes.
        payload_type: The type that the payload must have.
        what: The record's name for error messages, such as ``commit 12 of 'gpt2'``.

    Raises:
        ManifestDamaged: The bytes are not a whole and canonical envelope of that type.
    """
    try:
        if len(data) > MAX_ENVELOPE_BYTES:
            raise ValueError("too large")
        body = base64.b64decode(json.loads(data)["payload"], validate=True)
        payload = json.loads(body)
        intact = (
            _envelope(payload_type, body) == data
            and isinstance(payload, dict)
            and canonical(payload) == body
        )
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise _damaged(what) from error
    if not intact:
        raise _damaged(what)
    return dict(payload)


def canonical(payload: Mapping[str, object]) -> bytes:
    """Return JSON with sorted keys, no spaces, ASCII only; NaN and infinities are refused."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def pae(payload_type: str, body: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding, the bytes that a signature covers."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def _envelope(payload_type: str, body: bytes) -> bytes:
    seal = base64.b64encode(digest(pae(payload_type, body))).decode()
    return canonical(
        {
            "payload": base64.b64encode(body).decode(),
            "payloadType": payload_type,
            "signatures": [{"keyid": DIGEST_KEY_ID, "sig": seal}],
        }
    )


def _damaged(what: str) -> ManifestDamaged:
    return ManifestDamaged(
        f"{what} is damaged: its bytes do not match the digest that it carries. "
        "Nothing was loaded from it. 'holdfast verify' lists which checkpoints are good.",
        record=what,
    )
