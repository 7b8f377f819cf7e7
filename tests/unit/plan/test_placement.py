"""Where copies go: never home, evenly, and as far as can be."""

from __future__ import annotations

from collections import Counter

import pytest

from holdfast.plan.placement import copies_on


@pytest.mark.parametrize("n_hosts", range(1, 18))
@pytest.mark.parametrize("copies", [1, 2, 3])
def test_copies_lie_on_other_hosts_and_on_equally_many(n_hosts: int, copies: int) -> None:
    of_rank = [f"h{rank // 3}" for rank in range(3 * n_hosts)]
    found = copies_on(of_rank, copies)
    there = min(copies, n_hosts - 1)
    assert set(found) == set(of_rank)
    for host, holders in found.items():
        assert host not in holders and len(set(holders)) == len(holders) == there
    loads = Counter(holder for holders in found.values() for holder in holders)
    assert set(loads.values()) in ({there}, set())


def test_neighbours_do_not_hold_one_anothers_where_there_are_enough() -> None:
    hosts = [f"h{n}" for n in range(12)]
    for at, host in enumerate(hosts):
        holders = copies_on(hosts, 2)[host]
        assert {hosts[at - 1], hosts[(at + 1) % 12]} & set(holders) == set()


def test_it_goes_by_the_order_of_ranks_alone() -> None:
    assert copies_on(["b", "a", "b", "a"], 1) == copies_on(["b", "a"], 1)
