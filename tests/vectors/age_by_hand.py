"""Files of age (https://age-encryption.org/v1) for one X25519 key, written and read by hand.

An identity is a Bech32 text of 32 bytes, a file one stanza and one piece of payload.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
LABEL = b"age-encryption.org/v1/X25519"


def key_of(text: str) -> bytes:
    """Return the 32 bytes of ``age1…`` or ``AGE-SECRET-KEY-1…``; the checksum is passed over."""
    words = [ALPHABET.index(c) for c in text.lower().rsplit("1", 1)[1]][:-6]
    number = 0
    for word in words:
        number = number << 5 | word
    return (number >> len(words) * 5 % 8).to_bytes(32, "big")


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    prk = hmac.digest(salt or bytes(32), secret, hashlib.sha256)
    return hmac.digest(prk, info + b"\1", hashlib.sha256)


def wrap(secret: bytes, recipient: str, *, ephemeral: bytes, file_key: bytes) -> bytes:
    """Return a file for the recipient; what should be random is given."""
    private, public = X25519PrivateKey.from_private_bytes(ephemeral), key_of(recipient)
    share = private.public_key().public_bytes_raw()
    shared = private.exchange(X25519PublicKey.from_public_bytes(public))
    box = ChaCha20Poly1305(hkdf(shared, share + public, LABEL)).encrypt(bytes(12), file_key, None)
    head = b"age-encryption.org/v1\n-> X25519 %b\n%b\n---" % (text(share), text(box))
    mac = hmac.digest(hkdf(file_key, b"", b"header"), head, hashlib.sha256)
    nonce = hashlib.sha256(ephemeral).digest()[:16]
    body = ChaCha20Poly1305(hkdf(file_key, nonce, b"payload")).encrypt(LAST, secret, None)
    return head + b" " + text(mac) + b"\n" + nonce + body


# The counter of a payload's first piece, which is also its last.
LAST = bytes(11) + b"\1"


def unwrap(data: bytes, identity: str) -> bytes:
    """Return what is in a file.

    Raises:
        ValueError, InvalidTag: It is none, or another's.
    """
    head, _, rest = data.partition(b"--- ")
    mac, _, body = rest.partition(b"\n")
    lines = head.split(b"\n")
    if lines[0] != b"age-encryption.org/v1" or not lines[1].startswith(b"-> X25519 "):
        raise ValueError("no file for one X25519 key")
    share = octets(lines[1].removeprefix(b"-> X25519 "))
    private = X25519PrivateKey.from_private_bytes(key_of(identity))
    shared = private.exchange(X25519PublicKey.from_public_bytes(share))
    salt = share + private.public_key().public_bytes_raw()
    file_key = ChaCha20Poly1305(hkdf(shared, salt, LABEL)).decrypt(
        bytes(12), octets(lines[2]), None
    )
    expected = hmac.digest(hkdf(file_key, b"", b"header"), head + b"---", hashlib.sha256)
    if not hmac.compare_digest(expected, octets(mac)):
        raise ValueError("a damaged head")
    return ChaCha20Poly1305(hkdf(file_key, body[:16], b"payload")).decrypt(LAST, body[16:], None)


def text(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def octets(word: bytes) -> bytes:
    return base64.b64decode(word + b"=" * (-len(word) % 4))
