"""Which chunks share an object."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.plan.packs import PACK_BYTES, Packer


def pack(lengths: list[int]) -> list[list[int]]:
    packer = Packer(lengths)
    full = [done for i in range(len(lengths)) if (done := packer.add(i)) is not None]
    return [*full, *packer.rest()]


@given(st.lists(st.integers(1, PACK_BYTES), max_size=100))
def test_packs_hold_every_chunk_once_in_order_and_are_full(lengths: list[int]) -> None:
    packs = pack(lengths)
    assert [i for members in packs for i in members] == list(range(len(lengths)))
    for members in packs[:-1]:
        size = sum(lengths[i] for i in members)
        assert PACK_BYTES <= size < PACK_BYTES + lengths[members[-1]]
    assert all(packs)


def test_no_chunks_make_no_pack() -> None:
    assert pack([]) == []


def test_nothing_is_left_after_the_rest() -> None:
    packer = Packer([1, 1])
    packer.add(0)
    assert list(packer.rest()) == [[0]]
    assert list(packer.rest()) == []
