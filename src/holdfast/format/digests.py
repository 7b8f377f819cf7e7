"""The two digests of the format: BLAKE3 says what bytes are, XXH3 checks them fast.

BLAKE3 (256 bits) is the identity of a chunk: collision-resistant, so that equal digests mean
equal bytes even where somebody would like them not to. XXH3 (128 bits) is no defence against
an attacker but finds every accident, at the speed of memory; docs/adr/0003 tells when which is
checked.
"""

from __future__ import annotations

import xxhash
from blake3 import blake3

DIGEST_BYTES = 32
CHECK_BYTES = 16

Buffer = bytes | bytearray | memoryview


def digest(data: Buffer) -> bytes:
    """Return the BLAKE3 digest of data, 32 bytes. Releases the GIL for large buffers.

    >>> digest(b"").hex()[:16]
    'af1349b9f5f9a1a6'
    """
    return blake3(data).digest()


def check(data: Buffer) -> bytes:
    """Return the XXH3-128 checksum of data, 16 bytes in canonical order.

    >>> check(b"").hex()[:16]
    '99aa06d3014798d8'
    """
    return xxhash.xxh3_128_digest(data)
