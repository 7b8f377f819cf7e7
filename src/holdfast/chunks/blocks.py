"""A chunk read by its blocks, where little of it is wanted, and how its blocks are digested.

A run of blocks is read as if it were a chunk of its own: whatever brings chunks to their places,
past the cache or out of it, undoing it or not, does the same for runs. Only the checksums to be
compared are those of the blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import final

import xxhash

from holdfast.chunks.batch import ChunkRead
from holdfast.chunks.form import form_of
from holdfast.chunks.targets import Target
from holdfast.format.digests import CHECK_BYTES, check
from holdfast.plan.blocks import runs_to_read
from holdfast.store.contract import ObjectStore


@final
class BlockHasher:
    """Takes the bytes of a chunk in order, and gives the checksums of its blocks.

    Args:
        nbytes: Bytes of a block.
    """

    def __init__(self, nbytes: int) -> None:
        self._nbytes = nbytes
        self._checks: list[bytes] = []
        self._open = xxhash.xxh3_128()
        self._fill = 0

    def update(self, data: memoryview, /) -> None:
        """Take the next bytes."""
        at = 0
        if self._fill:
            at = min(self._nbytes - self._fill, data.nbytes)
            self._begin(data[:at])
        for begin in range(at, data.nbytes, self._nbytes):
            block = data[begin : begin + self._nbytes]
            if block.nbytes == self._nbytes:
                self._checks.append(check(block))
            else:
                self._begin(block)

    def _begin(self, data: memoryview) -> None:
        """Take bytes of a block that are not all of it."""
        self._open.update(data)
        self._fill += data.nbytes
        if self._fill == self._nbytes:
            self._end()

    def _end(self) -> None:
        self._checks.append(self._open.digest())
        self._open.reset()
        self._fill = 0

    def digest(self) -> bytes:
        """Return the checksums of all blocks, one behind the other; nothing is taken any more."""
        if self._fill:
            self._end()
        return b"".join(self._checks)


def first_difference(expected: bytes, found: bytes) -> tuple[int, bytes, bytes]:
    """Return the first block whose checksum is another: its number, and the two, which differ."""
    at = 0
    while expected[at : at + CHECK_BYTES] == found[at : at + CHECK_BYTES]:
        at += CHECK_BYTES
    end = at + CHECK_BYTES
    return at // CHECK_BYTES, expected[at:end], found[at:end]


def by_blocks(
    store: ObjectStore, reads: Iterable[ChunkRead], *, full: bool = False
) -> list[ChunkRead]:
    """Return reads of chunks, those of which little is wanted as reads of runs of their blocks.

    Args:
        store: Where they lie. Who opens a seal needs all of the chunk.
        reads: What is to be read; what is a run already stays as it is.
        full: BLAKE3 digests will be compared, and there are none of blocks.
    """
    if full or form_of(store).is_sealed:
        return list(reads)
    return [run for read in reads for run in _runs(read)]


def _runs(read: ChunkRead) -> Iterator[ChunkRead]:
    row, blocks = read.row, read.row.blocks
    if blocks is None or read.goes_to_one_place:
        yield read
        return
    wanted = [(t.begin, t.begin + t.into.nbytes) for t in read.targets]
    runs = runs_to_read(wanted, row.length, blocks.nbytes)
    if runs == [(0, row.length)]:
        yield read
        return
    targets = iter(sorted(read.targets, key=lambda target: target.begin))
    target = next(targets, None)
    for begin, end in runs:
        mine = []
        while target is not None and target.begin < end:
            mine.append(Target(target.begin - begin, target.into))
            target = next(targets, None)
        yield replace(
            read,
            row=replace(
                row,
                offset=row.offset + begin,
                length=end - begin,
                check=blocks.checks_of(begin, end),
                blocks=None,
            ),
            targets=mine,
            block_bytes=blocks.nbytes,
        )
