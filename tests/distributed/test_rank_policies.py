"""Clocks, signals and metrics decide for all ranks alike, though each sees its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from distributed.threads import Group, Hall, ranks_of, together
from holdfast import Checkpointer, errors, every, on
from holdfast.distributed.ranks import Ranks
from holdfast.policy.when import SavePolicy

Loop = Callable[[Checkpointer, int, dict[str, Any]], Any]


def train(path: Path, save: SavePolicy, loop: Loop, ranks: list[Ranks] | None = None) -> list[Any]:
    """Train on two ranks, rank 1 on the main thread, where signals come; return what came of it."""

    def on_rank(of: Ranks) -> Any:
        state = {"w": np.zeros(100)}
        options: dict[str, Any] = {"ranks": of, "rng": False}
        with Checkpointer(path, state, run="r", save=save, **options) as ckpt:
            ckpt.restore()
            return loop(ckpt, of.rank, state)

    return together(list(reversed(ranks or ranks_of(2))), on_rank)[::-1]


def saved_by(ckpt: Checkpointer, state: dict[str, Any], steps: range, pause_s: float) -> list[int]:
    saved = []
    for step in steps:
        state["w"][:] = step
        if ckpt.step(step) is not None:
            saved.append(step)
        time.sleep(pause_s)
    return saved


def steps_of(path: Path) -> list[int]:
    return [info.step for info in holdfast.Store(path).log("r")]


def test_the_clock_of_rank_0_counts(tmp_path: Path) -> None:
    policy = every(steps=100) | every(seconds=0.3)

    def loop(ckpt: Checkpointer, rank: int, state: dict[str, Any]) -> list[int]:
        # One is faster: it comes to where the way is not clear, and waits there.
        return saved_by(ckpt, state, range(150), 0.01 if rank else 0.02)

    by_0, by_1 = train(tmp_path / "c", policy, loop)
    assert by_0 == by_1 == steps_of(tmp_path / "c")
    assert 100 in by_0 and len(by_0) >= 3
    reasons = {info.reason for info in holdfast.Store(tmp_path / "c").log("r")}
    assert {"every 0.3 seconds", "every 100 steps"} <= reasons


def test_they_agree_again_after_going_back(tmp_path: Path) -> None:
    def loop(ckpt: Checkpointer, rank: int, state: dict[str, Any]) -> list[int]:
        first = saved_by(ckpt, state, range(150), 0.015)
        ckpt.rollback(first[0])
        assert state["w"][0] == first[0]
        return [*first, -1, *saved_by(ckpt, state, range(ckpt.next_step, first[0] + 150), 0.015)]

    by_0, by_1 = train(tmp_path / "c", every(seconds=0.3), loop)
    assert by_0 == by_1
    assert by_0.index(-1) < len(by_0) - 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_one_rank_is_answered_by_all(tmp_path: Path, number: signal.Signals) -> None:
    policy = on.signal() | on.signal(signal.SIGUSR1, then="continue")

    def loop(ckpt: Checkpointer, rank: int, state: dict[str, Any]) -> list[int]:
        saved = saved_by(ckpt, state, range(5), 0.02)
        if rank:
            os.kill(os.getpid(), number)
        return saved + saved_by(ckpt, state, range(5, 300), 0.01)

    ends = train(tmp_path / "c", policy, loop)
    [info] = holdfast.Store(tmp_path / "c").log("r")
    assert info.reason == f"signal {number.name}"
    assert (holdfast.load(tmp_path / "c", f"r@{info.step}")["w"] == info.step).all()
    if number == signal.SIGUSR1:
        assert ends == [[info.step], [info.step]]
    else:
        assert [type(end) for end in ends] == [SystemExit, SystemExit]
        assert [end.code for end in ends] == [128 + number, 128 + number]


def test_the_best_is_what_rank_0_finds_and_the_step_that_it_was_measured_at(tmp_path: Path) -> None:
    losses = {3: 0.5, 6: 0.4, 9: 0.45, 12: 0.3}

    def loop(ckpt: Checkpointer, rank: int, state: dict[str, Any]) -> list[int]:
        saved = []
        for step in range(15):
            state["w"][:] = step
            # Measured on other data there: each time it is worse.
            value = step if rank else losses.get(step)
            metrics = {"val_loss": value} if step in losses else {"loss": 1.0}
            if ckpt.step(step, metrics) is not None:
                saved.append(step)
        return saved

    policy = on.best("val_loss", name="model")
    assert train(tmp_path / "c", policy, loop) == [[3, 6, 12], [3, 6, 12]]
    assert steps_of(tmp_path / "c") == [3, 6, 12]
    assert (holdfast.load(tmp_path / "c", "r@model_v3")["w"] == 12).all()


@pytest.mark.parametrize("only", [0, 1])
def test_a_metric_that_only_one_rank_is_given_is_refused(tmp_path: Path, only: int) -> None:
    def loop(ckpt: Checkpointer, rank: int, state: dict[str, Any]) -> None:
        for step in range(40):
            has_it = rank == only and step % 3 == 0
            ckpt.step(step, {"val_loss": 10.0 - step} if has_it else None)
            time.sleep(0.02)

    policy = on.best("val_loss") | every(seconds=100)
    ends = train(tmp_path / "c", policy, loop, ranks_of(2, 3.0))
    assert isinstance(ends[1], errors.UsageError)
    assert "give it to step() on all ranks" in ends[1].message
    assert steps_of(tmp_path / "c") == []


def test_a_rank_0_that_says_nothing_is_not_waited_for_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def loop(ckpt: Checkpointer, rank: int, state: dict[str, Any]) -> list[int]:
        if not rank:
            # Evaluates by itself, say.
            time.sleep(4)
        return saved_by(ckpt, state, range(60), 0.02)

    ranks = ranks_of(2, 60.0)
    ranks[1] = replace(ranks[1], patience_s=1.0)
    by_0, by_1 = train(tmp_path / "c", every(steps=50) | every(seconds=600), loop, ranks)
    assert by_0 == by_1 == [50] == steps_of(tmp_path / "c")
    assert sum("heard nothing from rank 0" in r.getMessage() for r in caplog.records) == 1


def test_what_ranks_cannot_do_together_is_refused(tmp_path: Path) -> None:
    ends = train(tmp_path / "c", every(minutes=1) | on.exception(), lambda *_: None)
    assert all("on.exception() cannot" in end.message for end in ends)

    class Mute:
        """One that has no place for notices."""

        def __init__(self, rank: int) -> None:
            self._group = Group(Hall(1), 0)
            self.rank, self.world_size = rank, 2
            self.gather, self.broadcast = self._group.gather, self._group.broadcast

    ranks = [Ranks(Mute(rank), "ab" * 16) for rank in range(2)]
    ends = train(tmp_path / "c", every(minutes=1), lambda *_: None, ranks)
    assert all("by steps and epochs only" in end.message for end in ends)
