"""Pieces of an array are all of it, in order, each within one chunk."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.plan.pieces import Piece, pieces


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.data())
def test_pieces_are_the_bytes_of_an_array_in_order(lengths: list[int], data: st.DataObject) -> None:
    content = [(chunk, at) for chunk, length in enumerate(lengths) for at in range(length)]
    chunk = data.draw(st.integers(0, len(lengths) - 1))
    begin = data.draw(st.integers(0, lengths[chunk] - 1))
    first = content.index((chunk, begin))
    nbytes = data.draw(st.integers(0, len(content) - first))
    found = list(pieces((chunk, begin), nbytes, lengths))
    assert [
        (piece.chunk, piece.begin + n) for piece in found for n in range(piece.nbytes)
    ] == content[first : first + nbytes]
    assert [piece.at for piece in found] == [
        sum(piece.nbytes for piece in found[:n]) for n in range(len(found))
    ]


def test_an_array_of_nothing_has_no_pieces() -> None:
    assert list(pieces((0, 0), 0, [])) == []
    assert list(pieces((1, 3), 2, [9, 5])) == [Piece(1, 3, 2, 0)]
