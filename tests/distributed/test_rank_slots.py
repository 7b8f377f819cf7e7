"""A rank is held for its own snapshot alone, whatever the others do; and nothing is lost for it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import holdfast
from distributed.threads import ranks_of, together
from holdfast import Checkpointer, errors
from holdfast.engine.handle import SaveHandle
from holdfast.records import pins
from holdfast.store.local import LocalStore


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "ckpts"


class Trainings:
    """Two ranks that train, each with a persister of its own; the test moves them."""

    def __init__(self, path: Path, patience_s: float = 60.0) -> None:
        self.path = path
        self.states = [{"w": np.zeros(1000), "own": np.zeros(10)} for _ in range(2)]

        def opened(ranks: holdfast.distributed.ranks.Ranks) -> Checkpointer:
            state = self.states[ranks.rank]
            return Checkpointer(path, state, run="r", ranks=ranks, per_rank="own", rng=False)

        self.ckpts: list[Checkpointer] = together(ranks_of(2, patience_s), opened)

    def save(self, rank: int, step: int) -> SaveHandle:
        self.states[rank]["w"][:] = step
        self.states[rank]["own"][:] = 100 * rank + step
        return self.ckpts[rank].save(step)

    def pid(self, rank: int) -> int:
        return self.ckpts[rank]._saver.client.pid

    def steps(self) -> list[int]:
        return [info.step for info in holdfast.Store(self.path).log("r")]

    def is_right(self, step: int) -> bool:
        tree = holdfast.load(self.path, f"r@{step}")
        return bool((tree["w"] == step).all() and (tree["own"] == step).all())


@contextmanager
def trainings(path: Path, patience_s: float = 60.0) -> Iterator[Trainings]:
    found = Trainings(path, patience_s)
    try:
        yield found
    finally:
        for ckpt in found.ckpts:
            ckpt.close()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def until(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.01)


@pytest.mark.parametrize("slow", [0, 1])
def test_the_saves_of_a_rank_go_on_while_another_is_late(store_path: Path, slow: int) -> None:
    with trainings(store_path) as both:
        first = [both.save(rank, 1) for rank in range(2)]
        for handle in first:
            handle.wait()
        with stopped(both.pid(slow)):
            # In flight is one snapshot: each save waits until the one before is written, no longer.
            handles = [both.save(1 - slow, step) for step in (2, 3, 4)]
            until(lambda: handles[-1].is_written)
            assert not any(handle.done for handle in handles)
            assert both.steps() == [1]
        handles += [both.save(slow, step) for step in (2, 3, 4)]
        for handle in handles:
            handle.wait(60)
        assert both.steps() == [1, 2, 3, 4]
        assert all(both.is_right(step) for step in (1, 2, 3, 4))
        assert holdfast.Store(store_path).verify().ok


@pytest.mark.parametrize("victim", [0, 1])
def test_what_was_written_is_committed_though_its_persister_dies(
    store_path: Path, victim: int
) -> None:
    with trainings(store_path) as both:
        for handle in [both.save(rank, 1) for rank in range(2)]:
            handle.wait()
        with stopped(both.pid(1 - victim)):
            written = both.save(victim, 2)
            until(lambda: written.is_written)
            # Its snapshot is not there any more: the arena has the next one.
            both.save(victim, 3)
            os.kill(both.pid(victim), signal.SIGKILL)
        others = [both.save(1 - victim, step) for step in (2, 3)]
        for handle in [written, *others]:
            handle.wait(60)
        both.ckpts[victim].wait()
        assert both.steps() == [1, 2, 3]
        assert all(both.is_right(step) for step in (1, 2, 3))
        assert holdfast.Store(store_path).verify().ok
    assert pins.all_pins(LocalStore(store_path), "r") == []
    # The one that was killed may have left half of a file, which may be another rank's as well:
    # it goes when nobody writes.
    assert holdfast.Store(store_path).repair().ok
    assert list((store_path / "runs" / "r" / "pins").glob("*")) == []


def test_a_rank_that_leaves_a_save_out_costs_that_save_alone(store_path: Path) -> None:
    with trainings(store_path, patience_s=600.0) as both:
        left_out = both.save(0, 1)
        handles = [both.save(rank, 2) for rank in range(2)]
        for handle in handles:
            handle.wait(60)
        with pytest.raises(errors.SaveFailed, match="1 of 2 went on to a later save without it"):
            left_out.wait()
        assert both.steps() == [2]
        assert holdfast.Store(store_path).verify().ok


@pytest.mark.parametrize("early", [0, 1])
def test_ranks_that_save_other_steps_and_wait_for_them_are_told(
    store_path: Path, early: int
) -> None:
    """The one at the earlier step finds out, long before its patience ends; the other goes on."""
    with trainings(store_path, patience_s=600.0) as both:
        for handle in [both.save(rank, 1) for rank in range(2)]:
            handle.wait()
        alone, awaited = both.save(early, 10), both.save(1 - early, 12)
        told = "saved step 12 without it" if early else "1 of 2 went on to a later save without it"
        with pytest.raises(errors.SaveFailed, match=told):
            alone.wait(60)
        both.save(early, 12).wait(60)
        awaited.wait(60)
        assert both.steps() == [1, 12] and both.is_right(12)
        assert holdfast.Store(store_path).verify().ok


def test_a_rank_that_is_gone_holds_nobody_and_is_named(store_path: Path) -> None:
    with trainings(store_path, patience_s=3.0) as both:
        handles = [both.save(0, step) for step in range(1, 8)]
        for handle in handles:
            with pytest.raises(errors.SaveFailed, match=r"rank\(s\) 1 of 2"):
                handle.wait(60)
        # The later ones are not waited for anew, each for as long as the first.
        assert both.steps() == []
        both.ckpts[0]._ledger._open.clear()
    run = store_path / "runs" / "r"
    left = [path for path in run.rglob("*") if path.is_file()]
    left = [path for path in left if path.parent.name in ("packs", "parts", "pins")]
    # Notes of why they came to nothing, for a rank that still comes; who looks next sweeps them.
    assert all(path.name.endswith("-given-up") for path in left)
    assert holdfast.Store(store_path).repair().ok
    assert not any(path.exists() for path in left)
