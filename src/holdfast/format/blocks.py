"""Checks below chunks: a checksum for each block of a chunk, so that a part of it can be read.

A chunk is up to 32 MiB, and its own digests tell only of all of it. Where a restore needs little
of one, it reads the blocks that this little is in, and compares theirs (docs/adr/0036).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from holdfast.format.digests import CHECK_BYTES

# What direct I/O can read by itself.
MIN_BLOCK_BYTES: Final = 4096


class Blocks(NamedTuple):
    """The blocks of one chunk.

    Attributes:
        nbytes: Bytes of each of them; the last one may have fewer.
        checks: The XXH3-128 checksums of all of them, in order.
    """

    nbytes: int
    checks: bytes

    def checks_of(self, begin: int, end: int) -> bytes:
        """Return the checksums of the blocks from a byte of the chunk on to before another.

        Args:
            begin: Where a block begins.
            end: Where a block ends.
        """
        first, last = begin // self.nbytes, n_blocks(end, self.nbytes)
        return self.checks[first * CHECK_BYTES : last * CHECK_BYTES]


def n_blocks(length: int, nbytes: int) -> int:
    """Return how many blocks of so many bytes there are in a length.

    >>> n_blocks(8193, 4096)
    3
    """
    return -(-length // nbytes)


def encode_blocks(table: Any, blocks: Sequence[Blocks | None]) -> None:
    """Fill the columns of blocks of a table of chunks; of no block, there are none."""
    if any(found is not None for found in blocks):
        table.block.extend([0 if found is None else found.nbytes for found in blocks])
        table.block_check = b"".join(found.checks for found in blocks if found is not None)


def decode_blocks(table: Any, lengths: Sequence[int]) -> Iterator[Blocks | None]:
    """Yield the blocks of each chunk of a table.

    Args:
        table: The table.
        lengths: The bytes of each chunk.

    Raises:
        ValueError: The columns contradict themselves.
    """
    sizes, checks = list(table.block), table.block_check
    if not sizes:
        sizes = [0] * len(lengths)
    if len(sizes) != len(lengths):
        raise ValueError("the sizes of blocks are not as many as the chunks")
    if any(nbytes and not is_block_size(nbytes) for nbytes in sizes):
        raise ValueError("blocks have an impossible size")
    # Counted, not yet made: what a manifest claims asks for no memory.
    counts = [n_blocks(n, size) if size else 0 for n, size in zip(lengths, sizes, strict=True)]
    if sum(counts) * CHECK_BYTES != len(checks):
        raise ValueError("the checks of blocks are not as many as the blocks")
    at = 0
    for size, count in zip(sizes, counts, strict=True):
        end = at + count * CHECK_BYTES
        yield Blocks(size, checks[at:end]) if size else None
        at = end


def is_block_size(nbytes: int) -> bool:
    """Say whether blocks may have so many bytes: a power of two, whole pages.

    >>> is_block_size(4096), is_block_size(6144), is_block_size(2048)
    (True, False, False)
    """
    return nbytes >= MIN_BLOCK_BYTES and nbytes & (nbytes - 1) == 0
