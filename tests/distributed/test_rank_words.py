"""What each rank is told when ranks do not agree: why, by leaf and rank, and soon."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from distributed.threads import ranks_of, together
from holdfast import Checkpointer
from holdfast.distributed.ranks import Ranks
from holdfast.errors import RestoreIncomplete, SaveFailed, UsageError


def state() -> dict[str, Any]:
    return {"w": np.arange(6.0), "n": 3}


def test_every_rank_is_told_why_also_one_that_comes_when_all_is_over(tmp_path: Path) -> None:
    is_over = threading.Event()

    def save(ranks: Ranks) -> SaveFailed | None:
        own = state() | ({"extra": 1} if ranks.rank == 1 else {})
        store = tmp_path / "c"
        with Checkpointer(store, own, run="r", ranks=ranks, rng=False, on_error="warn") as ckpt:
            if ranks.rank == 2:
                assert is_over.wait(60)
            try:
                ckpt.save(1).wait()
            except SaveFailed as error:
                return error
            finally:
                if ranks.rank == 0:
                    is_over.set()
        return None

    # Longer than this test may take: nobody is told because patience has ended.
    for error in together(ranks_of(3, patience_s=600.0), save):
        assert isinstance(error, SaveFailed)
        assert "'extra', rank 1: int, where rank 0 has nothing" in error.message
        assert (error.path, error.rank, error.step) == ("extra", 1, 1)
    assert holdfast.Store(tmp_path / "c").log("r") == []


@pytest.mark.parametrize(
    ("place", "run", "what"),
    [("c", "q", "saves the run 'q', and rank 0 the run 'r'"), ("d", "r", "into another store")],
)
def test_ranks_that_save_something_else_are_told_as_they_begin(
    tmp_path: Path, place: str, run: str, what: str
) -> None:
    holdfast.save(tmp_path / place, {"w": 1}, run=run, step=1)

    def begin(ranks: Ranks) -> Exception | None:
        odd = ranks.rank == 1
        at, name = (tmp_path / place, run) if odd else (tmp_path / "c", "r")
        try:
            with Checkpointer(at, state(), run=name, ranks=ranks, rng=False):
                return None
        except UsageError as error:
            return error

    first, second = together(ranks_of(2), begin)
    assert first is None
    assert isinstance(second, UsageError) and what in second.message and second.rank == 1


def test_ranks_that_ask_for_different_checkpoints_are_told(tmp_path: Path) -> None:
    def train(ranks: Ranks) -> list[Any]:
        found: list[Any] = []
        with Checkpointer(tmp_path / "c", state(), run="r", ranks=ranks, rng=False) as ckpt:
            for step in (1, 2):
                ckpt.save(step).wait()
            # Two ways to say the same.
            restored = ckpt.restore("r@latest" if ranks.rank else None)
            found.append(restored.step if restored else None)
            try:
                ckpt.restore(1 if ranks.rank else 2)
            except (UsageError, RestoreIncomplete) as error:
                found.append(error)
        return found

    first, second = together(ranks_of(2), train)
    assert [first[0], second[0]] == [2, 2]
    assert isinstance(second[1], UsageError)
    assert "'r@1', and rank 0 for 'r@2'" in second[1].message
    assert isinstance(first[1], RestoreIncomplete)
    assert "Rank 1 could not restore" in first[1].message and "'r@1'" in first[1].message
