"""What was written in another tool's format, compared with what is read back."""

from __future__ import annotations

from collections.abc import Iterable

import xxhash

from holdfast.errors import IncompleteWrite


def require_same(pieces: Iterable[bytes | memoryview], digest: int, nbytes: int) -> None:
    """Compare what is read with what was written.

    Args:
        pieces: What is read, piece by piece.
        digest: XXH3 of what was written.
        nbytes: How much that was.

    Raises:
        IncompleteWrite: It is something else.
    """
    found, done = xxhash.xxh3_64(), 0
    for piece in pieces:
        found.update(piece)
        done += len(piece)
    if found.intdigest() != digest:
        raise IncompleteWrite(
            "What was written is not what is read back; nothing is left of it. Is the disk in "
            "order?",
            planned=nbytes,
            written=done,
        )
