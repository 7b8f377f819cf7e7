"""Blocks of chunks: how large a save makes them, and which of them a restore reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.format.blocks import MIN_BLOCK_BYTES

_MAX_BLOCK_BYTES: Final = 64 << 10
# The eighth part of a chunk is then read with 1.6 % around it.
_BLOCKS_OF_CHUNK: Final = 512
# Or up to twice as many; their checks take 4 MiB at most then, until blocks have 64 KiB.
_BLOCKS_OF_STATE: Final = 1 << 17
# What another read costs, in bytes that could be read instead.
_READ_COST_BYTES: Final = 8 << 10
# Of a chunk, where as much as this would be read, leaving the rest out is not worth it.
_WHOLE_SHARE: Final = 0.96


def block_bytes(length: int, total_bytes: int) -> int:
    """Return how large the blocks of a chunk are; 0 where it is too small to have any.

    Args:
        length: Bytes of the chunk.
        total_bytes: Bytes of the checkpoint, all ranks together; about.

    >>> block_bytes(32 << 20, 1 << 30), block_bytes(1 << 20, 1 << 30), block_bytes(5000, 5000)
    (65536, 8192, 0)
    """
    wanted = max(length // _BLOCKS_OF_CHUNK, total_bytes // _BLOCKS_OF_STATE, MIN_BLOCK_BYTES)
    nbytes = min(1 << wanted.bit_length() - 1, _MAX_BLOCK_BYTES)
    return nbytes if length >= 2 * nbytes else 0


def runs_to_read(
    wanted: Iterable[tuple[int, int]], length: int, nbytes: int
) -> list[tuple[int, int]]:
    """Return the runs of blocks that bring what is wanted of a chunk, or the whole chunk.

    Runs do not touch each other. Each begins with a block, and ends with one or with the chunk.

    Args:
        wanted: Stretches of the chunk, (begin, end) in bytes, in any order.
        length: Bytes of the chunk.
        nbytes: Bytes of its blocks.

    >>> runs_to_read([(9000, 9001), (20_000, 21_000)], 1 << 20, 4096)
    [(8192, 12288), (16384, 24576)]
    >>> runs_to_read([(100, 15_000)], 16_000, 4096)
    [(0, 16000)]
    """
    runs: list[tuple[int, int]] = []
    for begin, end in sorted(wanted):
        first, last = begin // nbytes * nbytes, min(-(-end // nbytes) * nbytes, length)
        if runs and first <= runs[-1][1]:
            runs[-1] = runs[-1][0], max(last, runs[-1][1])
        else:
            runs.append((first, last))
    cost = sum(end - begin for begin, end in runs) + len(runs) * _READ_COST_BYTES
    return runs if cost < _WHOLE_SHARE * length else [(0, length)]
