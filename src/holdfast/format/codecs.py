"""How the bytes of a chunk may be stored: the numbers of codecs, and what a reader allows them."""

from __future__ import annotations

from typing import Final

RAW: Final = 0
PLANES: Final = 1
DELTA: Final = 2
CODECS: Final = frozenset({RAW, PLANES, DELTA})

# What a chunk that is stored in fewer bytes may grow to: a manifest shall not ask for any memory.
MAX_PLAIN_BYTES: Final = 256 << 20
