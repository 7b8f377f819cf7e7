"""What a restore reads is what the layout placed."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from holdfast.format.part import ArrayRow
from holdfast.plan import layout as layouts
from holdfast.plan.layout import plan_layout
from holdfast.plan.reads import Span, plan_reads


def rows_of(sizes: list[int], layout: layouts.Layout) -> list[ArrayRow]:
    return [
        ArrayRow("numpy", "uint8", (n,), chunk, offset)
        for n, (chunk, offset) in zip(sizes, layout.places, strict=True)
    ]


@given(
    st.lists(st.one_of(st.integers(0, 2000), st.integers(0, 3 * layouts.SMALL_BYTES)), max_size=12),
    st.data(),
)
def test_reading_what_was_laid_out_gives_it_back(sizes: list[int], data: st.DataObject) -> None:
    layout = plan_layout([(f"{'ab'[i % 2]}/{i}", n) for i, n in enumerate(sizes)])
    wanted = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=20)) if sizes else []
    content = [random.Random(i).randbytes(n) for i, n in enumerate(sizes)]
    chunks = [bytearray(n) for n in layout.lengths]
    for (chunk, begin), value in zip(layout.places, content, strict=True):
        if value:
            chunks[chunk][begin : begin + len(value)] = value
    got = [bytearray(sizes[i]) for i in wanted]
    for chunk, spans in plan_reads(rows_of(sizes, layout), layout.lengths, wanted).items():
        for span in spans:
            piece = chunks[chunk][span.begin : span.begin + span.nbytes]
            assert len(piece) == span.nbytes > 0
            got[span.want][span.at : span.at + span.nbytes] = piece
    assert got == [content[i] for i in wanted]


def test_a_leaf_of_several_chunks_is_read_in_pieces() -> None:
    rows = [ArrayRow("numpy", "uint8", (25,), 1, 0)]
    assert plan_reads(rows, [4, 10, 10, 5], [0]) == {
        1: [Span(0, 10, 0, 0)],
        2: [Span(0, 10, 0, 10)],
        3: [Span(0, 5, 0, 20)],
    }


def test_only_chunks_that_are_wanted_are_read() -> None:
    rows = [ArrayRow("numpy", "uint8", (4,), i, 0) for i in range(5)]
    assert set(plan_reads(rows, [4] * 5, [3, 1])) == {1, 3}
    assert plan_reads(rows, [4] * 5, []) == {}


def test_arrays_of_no_elements_need_no_read() -> None:
    assert plan_reads([ArrayRow("numpy", "float32", (0, 5), 0, 0)], [], [0]) == {}
