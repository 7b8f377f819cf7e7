"""What a rank plans, and what rank 0 does with it, does not grow with the number of ranks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

from bench import simulated_ranks
from bench.simulated_ranks import RUN, part, plan, state_of
from holdfast.engine.other_parts import OtherParts
from holdfast.format.names import RunKeys
from holdfast.records.whole import put_together
from holdfast.testing.memory import MemoryStore

N_LEAVES = 300


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    simulated_ranks.register()


def calls(work: Callable[[], Any]) -> int:
    """Return how many functions are called in some work, those of C included."""
    n = 0

    def count(frame: Any, event: str, arg: Any) -> None:
        nonlocal n
        n += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return n


@pytest.mark.parametrize("kind", ["ddp", "hsdp", "fsdp", "fsdp+tp"])
def test_planning_is_flat_in_ranks(kind: str) -> None:
    found = {}
    for world in (64, 1024, 16_384):
        state = state_of(kind, world, world // 2, N_LEAVES)
        plan(state, world, world // 2)  # What is reckoned once, for a mesh, say.
        work = calls(lambda state=state, world=world: plan(state, world, world // 2))
        found[world] = work, len(part(plan(state, world, world // 2)))
    assert found[16_384][0] <= 1.05 * found[64][0]
    assert found[16_384][1] <= 1.05 * found[64][1]


def test_sets_of_ranks_and_first_plans_are_small() -> None:
    # Also the first time a rank plans, no step of it is one for each rank.
    works = {}
    for world in (64, 16_384):
        state = state_of("hsdp", world, 3, 30)
        works[world] = calls(lambda state=state, world=world: plan(state, world, 3))
    assert works[16_384] <= works[64] + 200


class Counting:
    """A store that counts what is asked of it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store, self.asked = store, dict.fromkeys(("get", "list", "exists"), 0)

    def __getattr__(self, name: str) -> Any:
        if name in self.asked:
            self.asked[name] += 1
        return getattr(self._store, name)


def test_rank_0_reads_each_part_once() -> None:
    world, store = 96, MemoryStore()
    jobs = [plan(state_of("hsdp", world, rank, 6), world, rank) for rank in range(world)]
    keys = RunKeys(RUN)
    for job in jobs:
        store.put(keys.part(job.id, job.rank), part(job))
    counting: Any = Counting(store)
    found = OtherParts(counting, RUN, 60.0, lambda: False).wait(jobs[0])
    assert [ref.rank for ref in found.refs] == list(range(world))
    # Rank 0's own besides.
    assert counting.asked == {"get": world + 1, "list": 1, "exists": 0}
    assert found.state_bytes == 6 * 4 * 2048 * 2048 - 2 * 4 * (2048 * 2048 - 8192)


def test_sampled_parts_fit_together_as_readers_see_it() -> None:
    world = 24
    for kind in ("hsdp", "fsdp", "fsdp+tp"):
        data = [part(plan(state_of(kind, world, r, 9), world, r)) for r in range(world)]
        parts = [simulated_ranks.part_format.decode(d, what="a part") for d in data]
        whole = put_together(parts, 0, "simulated@1")
        assert {row.shape for row in whole.arrays} == {(8192, 512), (2048, 2048), (8192,)}
