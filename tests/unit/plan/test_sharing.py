"""Replicas are shared out by bytes, alike on every rank that holds them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.plan.sharing import Shares

SETS = [(0, 1, 2, 3), (0, 1), (2, 3), (1,), (0, 1, 2, 3)]


@given(st.lists(st.tuples(st.integers(1, 1000), st.sampled_from(SETS)), max_size=60))
def test_every_holder_reckons_alike_and_each_thing_has_one_writer(
    things: list[tuple[int, tuple[int, ...]]],
) -> None:
    for rank in range(4):
        # A rank asks of what it holds only.
        shares, mine = Shares(), [thing for thing in things if rank in thing[1]]
        for nbytes, holders in mine:
            assert shares.writer_of(nbytes, holders) in holders
    answers = [
        [(i, shares.writer_of(*thing)) for i, thing in enumerate(things) if rank in thing[1]]
        for rank in range(4)
        for shares in [Shares()]
    ]
    told: dict[int, int] = {}
    for rank_answers in answers:
        for i, writer in rank_answers:
            assert told.setdefault(i, writer) == writer


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=80))
def test_no_rank_has_more_than_its_share_and_one_thing(sizes: list[int]) -> None:
    shares, loads = Shares(), [0] * 4
    for nbytes in sizes:
        loads[shares.writer_of(nbytes, (0, 1, 2, 3))] += nbytes
    assert max(loads) <= sum(sizes) / 4 + max(sizes)
