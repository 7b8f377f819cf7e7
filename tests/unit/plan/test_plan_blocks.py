"""Blocks: small enough to read little, few enough to keep; runs bring what is wanted."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from holdfast.format.blocks import MIN_BLOCK_BYTES, is_block_size, n_blocks
from holdfast.plan.blocks import block_bytes, runs_to_read
from holdfast.plan.layout import CHUNK_BYTES, plan_layout

MB, GB = 1_000_000, 1_000_000_000
stretches = st.lists(
    st.tuples(st.integers(0, 2_000_000), st.integers(1, 300_000)), min_size=1, max_size=40
)


@given(stretches, st.integers(1, 2_400_000), st.integers(12, 16))
def test_runs_are_blocks_that_hold_all_that_is_wanted(
    wanted: list[tuple[int, int]], length: int, power: int
) -> None:
    nbytes = 1 << power
    ends = [(b, min(b + n, length)) for b, n in wanted if b < length] or [(0, length)]
    runs = runs_to_read(ends, length, nbytes)
    assert all(any(b <= begin and end <= e for b, e in runs) for begin, end in ends)
    assert all(b % nbytes == 0 and (e % nbytes == 0 or e == length) for b, e in runs)
    assert all(0 <= b < e <= length for b, e in runs)
    assert all(e < following for (_, e), (following, _) in pairwise(runs))
    if runs != [(0, length)]:
        # No block is read that nothing is wanted of.
        for b, e in runs:
            for at in range(b, e, nbytes):
                assert any(begin < at + nbytes and end > at for begin, end in ends)


@given(st.integers(1, 2**32 - 1), st.integers(1, 2**42))
def test_blocks_are_neither_many_nor_large(length: int, total_bytes: int) -> None:
    nbytes = block_bytes(length, total_bytes)
    if not nbytes:
        # It is read whole then: it is small.
        assert length < 2 * (64 << 10)
        return
    assert is_block_size(nbytes) and nbytes <= 64 << 10
    assert n_blocks(length, nbytes) >= 2
    # The checksums take 0.4 % of what they are of at most.
    assert 16 * n_blocks(length, nbytes) <= 0.0041 * length + 16
    if length >= 2 << 20:
        assert nbytes == MIN_BLOCK_BYTES or nbytes <= max(length, total_bytes >> 8) // 512


def test_the_checks_of_a_gigabyte_are_few() -> None:
    for nbytes in (300_000, 2_360_000, 9_440_000, 150 * MB):
        layout = plan_layout([(f"model/{i}", nbytes) for i in range(GB // nbytes)])
        n = sum(n_blocks(c, block_bytes(c, layout.total_bytes) or c) for c in layout.lengths)
        assert n <= 1 << 18
        assert 16 * n < 0.004 * layout.total_bytes


def test_a_share_of_rows_reads_hardly_more_than_itself() -> None:
    # As a transformer's arrays are, shared out over ranks by rows, from one chunk after the other.
    for total_bytes in (8 * MB, 100 * MB, GB, 50 * GB):
        for length in (256 << 10, MB, 2_360_000, 9_440_000, CHUNK_BYTES):
            nbytes = block_bytes(length, total_bytes)
            for m in (2, 3, 4, 8):
                wanted = read = 0
                for rank in range(m):
                    begin, end = length * rank // m, length * (rank + 1) // m
                    if begin < end:
                        wanted += end - begin
                        runs = runs_to_read([(begin, end)], length, nbytes)
                        read += sum(e - b for b, e in runs)
                if nbytes * 24 * m <= length:
                    assert read <= 1.05 * wanted, (total_bytes, length, m)


def test_many_short_stretches_are_read_as_a_whole() -> None:
    # The left half of each row: as many reads as rows would take longer than all of it.
    rows = [(at, at + 4096) for at in range(0, 1 << 20, 8192)]
    assert runs_to_read(rows, 1 << 20, 4096) == [(0, 1 << 20)]
    few = random.Random(1).sample(rows, 8)
    assert len(runs_to_read(few, 1 << 20, 4096)) == 8
