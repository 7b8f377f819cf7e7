"""What a comparison reads: no chunk twice, nothing that digests tell."""

from __future__ import annotations

from collections import Counter

from holdfast.format.part import ArrayRow, ChunkRow
from holdfast.history.diff.plan import is_unchanged, plan_comparison
from holdfast.plan.layout import CHUNK_BYTES


def chunk(name: str, length: int) -> ChunkRow:
    return ChunkRow(name.encode().ljust(32), b"", length, 0, 0)


def row(shape: tuple[int, ...], at: int, offset: int = 0, dtype: str = "uint8") -> ArrayRow:
    return ArrayRow("numpy", dtype, shape, at, offset)


def test_equal_digests_at_the_same_place_are_equal_bytes() -> None:
    chunks = [chunk("a", 10), chunk("b", 10)], [chunk("x", 5), chunk("a", 10), chunk("b", 10)]
    assert is_unchanged((row((20,), 0), row((20,), 1)), chunks)
    assert not is_unchanged((row((8,), 0, 2), row((8,), 1)), chunks), "of another place in it"
    assert not is_unchanged((row((10,), 0), row((10,), 2)), chunks)
    signed = row((20,), 1, dtype="int8")
    assert not is_unchanged((row((20,), 0), signed), chunks), "the same bytes mean something else"
    assert is_unchanged((row((0,), 0), row((0,), 0)), chunks)


def test_of_equal_chunks_only_one_side_is_read() -> None:
    chunks = [chunk("a", 8), chunk("b", 4)], [chunk("a", 8), chunk("c", 4)]
    [task] = plan_comparison([(row((12,), 0), row((12,), 0))], chunks)
    assert [segment.is_same for segment in task] == [True, False]


def test_small_arrays_of_one_chunk_are_read_together() -> None:
    chunks = [chunk("a", CHUNK_BYTES), chunk("b", 64)], [chunk("c", CHUNK_BYTES), chunk("d", 64)]
    pairs = [
        (row((16,), 1, 0), row((16,), 1, 16)),
        (row((CHUNK_BYTES,), 0), row((CHUNK_BYTES,), 0)),
        (row((16,), 1, 16), row((16,), 1, 32)),
    ]
    first, second = plan_comparison(pairs, chunks)
    assert [segment.pair for segment in first] == [1]
    assert [segment.pair for segment in second] == [0, 2]
    assert [piece.begin for segment in second for piece in segment.after] == [16, 32]


def test_an_element_across_the_end_of_a_chunk_stays_whole() -> None:
    chunks = [chunk("a", 7), chunk("b", 5)], [chunk("c", 3), chunk("d", 9)]
    pair = (row((3,), 0, dtype="float32"), row((3,), 0, dtype="int32"))
    segments = [segment for task in plan_comparison([pair], chunks) for segment in task]
    for side in (0, 1):
        pieces = [p for s in segments for p in (s.before, s.after)[side]]
        assert sum(p.nbytes for p in pieces) == 12
        for segment in segments:
            assert sum(p.nbytes for p in (segment.before, segment.after)[side]) % 4 == 0


def test_large_arrays_are_cut_where_chunks_are_and_each_is_read_once() -> None:
    lengths = [CHUNK_BYTES] * 5 + [100]
    chunks = (
        [chunk(f"a{i}", n) for i, n in enumerate(lengths)],
        [chunk(f"b{i}", n) for i, n in enumerate(lengths)],
    )
    n = (sum(lengths),)
    tasks = plan_comparison([(row(n, 0), row(n, 0))], chunks)
    assert all(sum(p.nbytes for s in task for p in s.before) <= CHUNK_BYTES for task in tasks)
    reads = Counter(c for task in tasks for c in {p.chunk for s in task for p in s.after})
    assert reads == Counter(range(6))


def test_a_recast_array_has_as_many_elements_on_either_side() -> None:
    chunks = [chunk("a", 16), chunk("b", 16)], [chunk("c", 64)]
    pair = (row((8,), 0, dtype="float32"), row((8,), 0, dtype="float64"))
    segments = [segment for task in plan_comparison([pair], chunks) for segment in task]
    assert [(s.before[0].nbytes, s.after[0].nbytes) for s in segments] == [(16, 32), (16, 32)]
