"""What a comparison reads: stretches of two arrays, gathered so that no chunk is read twice.

Bytes that have the same digest at the same place are the same: an array that is made of such is
known to be unchanged, and of one that is so in part only one side is read there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.format.dtypes import itemsize
from holdfast.format.part import ChunkRow
from holdfast.format.shared import SharedRow
from holdfast.plan.layout import CHUNK_BYTES
from holdfast.plan.reads import Row, plan_reads


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one chunk: its row in the part, where they begin in it, how many they are."""

    chunk: int
    begin: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Some elements of a pair of arrays, and the pieces of chunks that they are in on either side.

    Attributes:
        pair: Number of the pair.
        before: Pieces of the earlier array, in order.
        after: Pieces of the later array.
        is_same: The bytes are known to be equal.
    """

    pair: int
    before: tuple[Piece, ...]
    after: tuple[Piece, ...]
    is_same: bool


Rows = tuple[Row, Row]
Chunks = tuple[Sequence[ChunkRow], Sequence[ChunkRow]]
Task = Sequence[Segment]


def is_unchanged(rows: Rows, chunks: Chunks) -> bool:
    """Say whether two arrays of one shape are known to be equal from digests alone."""
    before, after = rows
    if before.dtype != after.dtype:
        return False
    return _is_same(
        chunks,
        _pieces(before, chunks[0], 0, before.nbytes),
        _pieces(after, chunks[1], 0, after.nbytes),
    )


def plan_comparison(pairs: Sequence[Rows], chunks: Chunks) -> list[Task]:
    """Return what to read together, for arrays of one shape each.

    Args:
        pairs: The rows of each pair, the earlier one first.
        chunks: The chunks of the two parts.

    Returns:
        Tasks of about a chunk's size on either side. A chunk of the earlier checkpoint is in one
        task only, unless an element lies across its end.
    """
    segments = [s for i, rows in enumerate(pairs) for s in _segments(i, rows, chunks)]
    segments.sort(key=lambda s: (s.before[0].chunk, s.before[0].begin))
    tasks: list[list[Segment]] = []
    held_bytes = 0
    for segment in segments:
        nbytes = sum(piece.nbytes for piece in segment.before)
        follows = tasks and segment.before[0].chunk == tasks[-1][-1].before[-1].chunk
        if not tasks or (not follows and held_bytes + nbytes > CHUNK_BYTES):
            tasks.append([])
            held_bytes = 0
        tasks[-1].append(segment)
        held_bytes += nbytes
    return list(tasks)


def _segments(number: int, rows: Rows, chunks: Chunks) -> Iterator[Segment]:
    before, after = rows
    sizes = itemsize(before.dtype), itemsize(after.dtype)
    if not (before.nbytes and after.nbytes):
        return
    begin, seen_bytes = 0, 0
    for piece in _pieces(before, chunks[0], 0, before.nbytes):
        seen_bytes += piece.nbytes
        # An element that lies across the end of a chunk goes with those that follow.
        end = seen_bytes // sizes[0]
        if end > begin:
            first = _pieces(before, chunks[0], begin * sizes[0], end * sizes[0])
            second = _pieces(after, chunks[1], begin * sizes[1], end * sizes[1])
            same = before.dtype == after.dtype and _is_same(chunks, first, second)
            yield Segment(number, first, second, same)
        begin = end


def _pieces(row: Row, chunks: Sequence[ChunkRow], begin: int, end: int) -> tuple[Piece, ...]:
    """Return where the bytes of an array from begin to end lie."""
    if isinstance(row, SharedRow):
        return _pieces_of_shared(row, chunks, begin, end)
    found = []
    chunk, at = row.chunk, row.offset
    # Where the chunk's bytes begin in the array; it may be before the array itself.
    start = 0
    while start < end:
        nbytes = min(chunks[chunk].length - at, row.nbytes - start)
        low, high = max(begin, start), min(end, start + nbytes)
        if low < high:
            found.append(Piece(chunk, at + low - start, high - low))
        start, chunk, at = start + nbytes, chunk + 1, 0
    return tuple(found)


def _pieces_of_shared(
    row: SharedRow, chunks: Sequence[ChunkRow], begin: int, end: int
) -> tuple[Piece, ...]:
    lengths = [chunk.length for chunk in chunks]
    spans = [
        (span.at, chunk, span)
        for chunk, found in plan_reads([row], lengths, [0]).items()
        for span in found
    ]
    found = []
    for at, chunk, span in sorted(spans, key=lambda entry: entry[0]):
        low, high = max(begin, at), min(end, at + span.nbytes)
        if low < high:
            found.append(Piece(chunk, span.begin + low - at, high - low))
    return tuple(found)


def _is_same(chunks: Chunks, first: Sequence[Piece], second: Sequence[Piece]) -> bool:
    return len(first) == len(second) and all(
        (a.begin, a.nbytes) == (b.begin, b.nbytes)
        and chunks[0][a.chunk].digest == chunks[1][b.chunk].digest
        for a, b in zip(first, second, strict=True)
    )
