"""What a restore reads: which bytes of which chunks go where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast.format.boxes import Box, stretches, whole
from holdfast.format.dtypes import itemsize
from holdfast.format.part import ArrayRow, HasChunks
from holdfast.format.shared import PieceRow, SharedRow
from holdfast.plan.pieces import Piece, pieces

Row = ArrayRow | SharedRow


class HasArrays(HasChunks, Protocol):
    """A part, or the parts of a checkpoint as one: arrays, and the chunks that they are in."""

    @property
    def arrays(self) -> Sequence[Row]:
        """The arrays."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a chunk that are wanted.

    Attributes:
        begin: Where they begin in the chunk, in bytes.
        nbytes: How many they are.
        want: Number of the array wanted, in the order asked for.
        at: Where they begin in that array, in bytes.
    """

    begin: int
    nbytes: int
    want: int
    at: int


@dataclass(frozen=True, slots=True)
class Want:
    """An array that is wanted, all of it or a box; its bytes shall lie dense, in C order."""

    row: int
    box: Box | None = None


def plan_reads(
    rows: Sequence[Row], lengths: Sequence[int], wanted: Iterable[int | Want]
) -> dict[int, list[Span]]:
    """Return the spans of each chunk that is needed.

    Args:
        rows: The arrays of a checkpoint.
        lengths: The lengths of its chunks, in bytes.
        wanted: What is wanted of them, a whole one by its row; one may be wanted several times.

    >>> plan_reads([ArrayRow("numpy", "uint8", (5,), 0, 2)], [8], [0])
    {0: [Span(begin=2, nbytes=5, want=0, at=0)]}
    """
    spans: dict[int, list[Span]] = {}
    for number, want in enumerate(wanted):
        found = Want(want) if isinstance(want, int) else want
        for chunk, begin, nbytes, at in _pieces_of(rows[found.row], found.box, lengths):
            spans.setdefault(chunk, []).append(Span(begin, nbytes, number, at))
    return spans


def _pieces_of(row: Row, box: Box | None, lengths: Sequence[int]) -> Iterator[Piece]:
    """Yield what there is of an array, or of a box of it; ``at`` is the place in what is wanted."""
    if isinstance(row, ArrayRow):
        if box is None:
            yield from pieces((row.chunk, row.offset), row.nbytes, lengths)
            return
        row_pieces: Sequence[PieceRow] = [PieceRow(whole(row.shape), row.chunk, row.offset)]
    else:
        row_pieces = row.pieces
    size, wanted = itemsize(row.dtype), box or whole(row.shape)
    for piece in row_pieces:
        for run in stretches(piece.box, wanted):
            place = _place(lengths, piece, run.saved_at * size)
            for part in pieces(place, run.n_elems * size, lengths):
                yield part._replace(at=part.at + run.wanted_at * size)


def _place(lengths: Sequence[int], piece: PieceRow, skipped: int) -> tuple[int, int]:
    """Return the chunk, and the place in it, of what lies so many bytes behind a box's begin."""
    chunk, offset = piece.chunk, piece.offset + skipped
    while offset >= lengths[chunk]:
        chunk, offset = chunk + 1, offset - lengths[chunk]
    return chunk, offset
