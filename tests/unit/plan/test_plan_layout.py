"""How leaves become chunks: every byte has one place, and keeps it from save to save."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.plan.layout import (
    CHUNK_ALIGNMENT,
    CHUNK_BYTES,
    GROUP_BYTES,
    LEAF_ALIGNMENT,
    SMALL_BYTES,
    Layout,
    align,
    plan_layout,
)

Leaves = list[tuple[str, int]]

sizes = st.one_of(
    st.integers(0, 64),
    st.integers(0, SMALL_BYTES + 4096),
    st.sampled_from(
        [
            *(SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1, GROUP_BYTES),
            *(CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 5),
        ]
    ),
)
paths = st.sampled_from(["model/w", "model/b", "optimizer/0", "a", "a/b/c", "models", ""])
leaves_of_any_kind = st.lists(st.tuples(paths, sizes), max_size=60)


def stretches(leaves: Leaves, layout: Layout) -> list[tuple[int, int, int, int]]:
    """Return (chunk, begin, end, leaf) of every piece of every leaf, as a reader finds them."""
    out = []
    for i, ((_, nbytes), (chunk, begin)) in enumerate(zip(leaves, layout.places, strict=True)):
        left = nbytes
        while left:
            n = min(left, layout.lengths[chunk] - begin)
            out.append((chunk, begin, begin + n, i))
            left, chunk, begin = left - n, chunk + 1, 0
    return out


@given(leaves_of_any_kind)
@example([("a", 0)])
@example([])
def test_every_byte_has_one_place_of_its_own(leaves: Leaves) -> None:
    layout = plan_layout(leaves)
    pieces = sorted(stretches(leaves, layout))
    for chunk, begin, end, _ in pieces:
        assert 0 <= begin < end <= layout.lengths[chunk]
    for (chunk, _, end, _), (next_chunk, begin, _, _) in pairwise(pieces):
        assert chunk < next_chunk or end <= begin
    assert sum(end - begin for _, begin, end, _ in pieces) == sum(n for _, n in leaves)


@given(leaves_of_any_kind)
def test_chunks_are_full_and_lie_apart(leaves: Leaves) -> None:
    layout = plan_layout(leaves)
    pieces = stretches(leaves, layout)
    for chunk, length in enumerate(layout.lengths):
        ends = [end for c, _, end, _ in pieces if c == chunk]
        assert max(ends) == length
        assert 0 < length <= CHUNK_BYTES
    end = 0
    for offset, length in zip(layout.offsets, layout.lengths, strict=True):
        assert offset == end
        assert offset % CHUNK_ALIGNMENT == 0
        end = align(offset + length, CHUNK_ALIGNMENT)
    assert layout.total_bytes == end


@given(leaves_of_any_kind)
def test_small_leaves_share_groups_and_large_ones_share_nothing(leaves: Leaves) -> None:
    layout = plan_layout(leaves)
    members: dict[int, list[int]] = {}
    for chunk, begin, _, leaf in stretches(leaves, layout):
        members.setdefault(chunk, []).append(leaf)
        assert begin % LEAF_ALIGNMENT == 0
    for chunk, group in members.items():
        large = [i for i in group if leaves[i][1] >= SMALL_BYTES]
        if large:
            assert len(group) == 1
            assert layout.places[large[0]][1] == 0
        else:
            assert layout.lengths[chunk] <= GROUP_BYTES
            assert len({leaves[i][0].partition("/")[0] for i in group}) == 1


@given(leaves_of_any_kind, st.tuples(paths, sizes))
def test_what_is_appended_moves_nothing_that_was_there(
    leaves: Leaves, new: tuple[str, int]
) -> None:
    before, after = plan_layout(leaves), plan_layout([*leaves, new])
    assert after.places[: len(leaves)] == before.places
    # At most the last open group grows; every other chunk is what it was.
    kept = [a == b for a, b in zip(before.lengths, after.lengths, strict=False)]
    assert kept.count(False) <= 1
    if new[1] >= SMALL_BYTES or new[1] == 0:
        assert all(kept)


@given(leaves_of_any_kind, st.integers(1, 3))
def test_a_large_leaf_in_between_ends_no_group(leaves: Leaves, n: int) -> None:
    small = [("m/x", 100)] * 5
    mixed = [*small[:2], *[("m/large", CHUNK_BYTES)] * n, *small[2:]]
    layout = plan_layout(mixed)
    groups = {
        place[0] for (_, size), place in zip(mixed, layout.places, strict=True) if size == 100
    }
    assert len(groups) == 1


def test_the_first_leaf_that_does_not_fit_opens_a_new_group() -> None:
    third = GROUP_BYTES // 4
    layout = plan_layout([("m/a", third - 16), ("m/b", third - 16)] * 3)
    assert [chunk for chunk, _ in layout.places] == [0, 0, 0, 0, 1, 1]


def test_a_leaf_is_cut_at_fixed_offsets() -> None:
    layout = plan_layout([("a", 2 * CHUNK_BYTES + 7), ("b", CHUNK_BYTES)])
    assert layout.lengths == [CHUNK_BYTES, CHUNK_BYTES, 7, CHUNK_BYTES]
    assert layout.places == [(0, 0), (3, 0)]
    assert layout.offsets[3] == 2 * CHUNK_BYTES + CHUNK_ALIGNMENT


@pytest.mark.parametrize(("value", "result"), [(0, 0), (1, 16), (16, 16), (17, 32)])
def test_align(value: int, result: int) -> None:
    assert align(value, 16) == result
