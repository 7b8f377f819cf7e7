"""All digests of a chunk, in one walk through its bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import xxhash

from holdfast.chunks.blocks import BlockHasher
from holdfast.chunks.finite import STEP_BYTES
from holdfast.chunks.form import ChunkForm
from holdfast.format.blocks import Blocks

Look = Callable[[int, int, memoryview], None]


class Digests(NamedTuple):
    """What the manifest says of a chunk's bytes: its id, its checksum, those of its blocks."""

    name: bytes
    check: bytes
    blocks: Blocks | None


def digests_of(
    data: memoryview, form: ChunkForm, block_bytes: int, chunk: int, look: Look | None = None
) -> Digests:
    """Return the digests of a chunk.

    Args:
        data: Its bytes.
        form: How chunks lie in the store.
        block_bytes: Bytes of its blocks; 0: it has none.
        chunk: Its index, for ``look``.
        look: Is shown all bytes, step by step.
    """
    name, quick = form.hasher(), xxhash.xxh3_128()
    blocks = BlockHasher(block_bytes) if block_bytes else None
    # Step by step, so that all find the bytes in the processor's cache.
    for at in range(0, data.nbytes, STEP_BYTES):
        piece = data[at : at + STEP_BYTES]
        name.update(piece)
        quick.update(piece)
        if blocks is not None:
            blocks.update(piece)
        if look is not None:
            look(chunk, at, piece)
    checks = Blocks(block_bytes, blocks.digest()) if blocks is not None else None
    return Digests(name.digest(), quick.digest(), checks)
