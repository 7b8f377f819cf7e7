"""What a restore reads: which bytes of which chunks go where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdfast.format.part import ArrayRow
from holdfast.plan.pieces import pieces


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


def plan_reads(
    rows: Sequence[ArrayRow], lengths: Sequence[int], wanted: Iterable[int]
) -> dict[int, list[Span]]:
    """Return the spans of each chunk that is needed.

    Args:
        rows: The arrays of a part.
        lengths: The lengths of its chunks, in bytes.
        wanted: Rows of the arrays that are wanted; one may be wanted several times.

    >>> plan_reads([ArrayRow("numpy", "uint8", (5,), 0, 2)], [8], [0])
    {0: [Span(begin=2, nbytes=5, want=0, at=0)]}
    """
    spans: dict[int, list[Span]] = {}
    for want, index in enumerate(wanted):
        row = rows[index]
        for chunk, begin, nbytes, at in pieces((row.chunk, row.offset), row.nbytes, lengths):
            spans.setdefault(chunk, []).append(Span(begin, nbytes, want, at))
    return spans
