"""Checkpointer: a training run saved by a policy and restored by itself."""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_checks import assert_same

import holdfast
from holdfast import Checkpointer, every, keep, on
from holdfast.errors import HoldfastError, Mismatch, NotFound, RunBusy, UnsupportedLeaf, UsageError
from holdfast.format.names import RunKeys
from holdfast.store.local import LocalStore


def fresh() -> dict[str, Any]:
    return {"w": np.zeros(50_000), "opt": {"m": [np.zeros(5)]}, "losses": []}


def train(state: dict[str, Any], step: int) -> float:
    """One step of training; draws random numbers."""
    state["w"] += np.random.standard_normal(50_000) * random.random()
    state["opt"]["m"][0][step % 5] = step
    state["losses"].append(float(state["w"].mean()))
    return abs(state["losses"][-1])


def steps(path: Path, run: str = "r") -> list[int]:
    return [info.step for info in holdfast.Store(path).log(run)]


# --- the loop of the readme ---


def test_a_run_that_stops_goes_on_as_if_it_had_not(store_path: Path) -> None:
    def run(path: Path, until: int) -> tuple[dict[str, Any], holdfast.Restored | None]:
        state = fresh()
        with Checkpointer(path, state, run="r", save=every(steps=3)) as ckpt:
            restored = ckpt.restore()
            for step in range(ckpt.next_step, until):
                train(state, step)
                ckpt.step(step)
        return state, restored

    random.seed(1)
    np.random.seed(1)
    whole, restored = run(store_path / "whole", 10)
    assert restored is None
    random.seed(1)
    np.random.seed(1)
    run(store_path / "parts", 8)
    random.seed(99)
    np.random.seed(99)
    resumed, restored = run(store_path / "parts", 10)
    assert restored is not None and (restored.step, restored.ref) == (6, "r@6")
    assert_same(resumed, whole)
    assert steps(store_path / "whole") == [3, 6, 9]
    assert steps(store_path / "parts") == [3, 6, 9]


def test_a_save_holds_the_state_of_its_moment(store_path: Path) -> None:
    state = {"w": np.zeros(2_000_000), "n": 0}
    with Checkpointer(store_path, state, run="r") as ckpt:
        for step in range(4):
            state["w"][:] = step
            state["n"] = step
            handle = ckpt.save(step)
            state["w"][:] = -1
            state["n"] = -1
        assert handle.wait().step == 3
    for step in range(4):
        found = holdfast.load(store_path, f"r@{step}")
        assert found["n"] == step and bool((found["w"] == step).all())


def test_a_second_save_with_most_frozen_writes_about_what_has_changed(store_path: Path) -> None:
    state = {"frozen": np.random.default_rng(0).random(900_000), "w": np.zeros(100_000)}
    with Checkpointer(store_path, state, run="r", rng=False) as ckpt:
        ckpt.save(0).wait()
        for step in (1, 2):
            state["w"] += np.random.default_rng(step).random(100_000)
            info = ckpt.save(step).wait()
            assert 800_000 <= info.stored_bytes <= 1.1 * 800_000
        # A state of another shape in between, and back again.
        state["more"] = np.ones(3)
        assert ckpt.save(3).wait().stored_bytes < 100_000
        del state["more"]
        assert ckpt.save(4).wait().stored_bytes < 100_000
    assert holdfast.Store(store_path).verify().ok


def test_what_is_told_of_a_save(store_path: Path) -> None:
    state = fresh()
    with Checkpointer(store_path, state, run="r", save=every(steps=2)) as ckpt:
        assert ckpt.step(1, metrics={"loss": 5}) is None
        handle = ckpt.step(2, metrics={"loss": np.float32(0.5), "acc": np.array(1)})
        assert handle is not None
        info = handle.wait(timeout_s=60)
        assert handle.done and handle.info == info
        assert (info.step, info.reason) == (2, "every 2 steps")
        assert info.metrics == {"loss": 0.5, "acc": 1.0}
        assert 0 < handle.held_s < 10
        tagged = ckpt.save(3, tag="final", metrics={"loss": 0.25}).wait()
        assert tagged.tags == ("final",) and tagged.parent == info.id
        [first, second] = ckpt.stats
        assert (first.step, second.step) == (2, 3)
        assert first.held_s > 0 and first.durable_s > 0 and first.state_bytes == info.state_bytes
    assert holdfast.Store(store_path).info("r@final").step == 3


def test_lineage_follows_what_was_restored(store_path: Path) -> None:
    state = fresh()
    with Checkpointer(store_path, state, run="r") as ckpt:
        first, second = ckpt.save(1).wait(), ckpt.save(2).wait()
        assert (first.parent, second.parent) == (None, first.id)
    with Checkpointer(store_path, state, run="r") as ckpt:
        ckpt.restore("1")
        assert ckpt.next_step == 2
        assert ckpt.save(2).wait().parent == first.id


# --- restoring ---


def test_restore_takes_refs(store_path: Path) -> None:
    for step in (1, 2, 3):
        state = fresh() | {"w": np.full(50_000, float(step))}
        holdfast.save(store_path, state, run="r", step=step, metrics={"loss": (step - 2) ** 2})
    holdfast.Store(store_path).tag("r@1", "first")
    holdfast.save(store_path, fresh() | {"w": np.full(50_000, 9.0)}, run="other", step=9)
    state = fresh()
    refs = {
        None: 3,
        "latest": 3,
        "r@latest": 3,
        "2": 2,
        "r@1": 1,
        "best:loss": 2,
        "first": 1,
        "other@9": 9,
        "other@latest": 9,
    }
    with Checkpointer(store_path, state, run="r") as ckpt:
        for ref, step in refs.items():
            restored = ckpt.restore(ref)
            assert restored is not None and restored.step == step
            assert ckpt.next_step == step + 1
            assert state["w"][0] == step
        for ref in ("7", "none", "none@latest"):
            with pytest.raises(NotFound):
                ckpt.restore(ref)
        assert state["w"][0] == 9


def test_a_checkpoint_with_more_than_the_state_is_an_error(store_path: Path) -> None:
    holdfast.save(store_path, {"w": np.ones(3), "ema": np.ones(3)}, run="r", step=1)
    state = {"w": np.zeros(3)}
    with Checkpointer(store_path, state, run="r") as ckpt:
        with pytest.raises(Mismatch, match="'ema'"):
            ckpt.restore()
        assert state["w"].tolist() == [0] * 3 and ckpt.next_step == 0
        restored = ckpt.restore(strict=False)
        assert restored is not None and restored.unexpected == ("ema",)
        assert state["w"].tolist() == [1] * 3
        assert ckpt.restore(only="w") is not None


def test_filters_go_both_ways(store_path: Path) -> None:
    state = {"w": np.ones(3), "cache": np.ones(1000), "n": 1}
    with Checkpointer(store_path, state, run="r", skip="cache", rng=False) as ckpt:
        assert ckpt.save(1).wait().state_bytes == 24
        state["w"][:] = 0
        state["cache"][:] = 0
        ckpt.restore()
        assert state["w"].sum() == 3 and state["cache"].sum() == 0


def test_damaged_ones_are_stepped_over(store_path: Path) -> None:
    state = fresh()
    with Checkpointer(store_path, state, run="r") as ckpt:
        for step in (1, 2):
            state["w"][:] = step
            ckpt.save(step).wait()
        store, keys = LocalStore(store_path), RunKeys("r")
        key = keys.pack(holdfast.Store(store_path).info("r@2").id, 0)
        data = bytearray(store.get(key))
        data[100] ^= 1
        store.put(key, data)
        restored = ckpt.restore()
        assert restored is not None and restored.step == 1
        assert "r@2" in restored.stepped_over[0]
        assert state["w"][0] == 1 and ckpt.next_step == 2


def test_a_restore_after_a_save_that_shares_its_memory(store_path: Path) -> None:
    # The restore borrows the arena; the next save must not take its content for the last snapshot.
    state = {"w": np.arange(400_000.0), "v": np.arange(400_000.0)}
    with Checkpointer(store_path, state, run="r") as ckpt:
        ckpt.save(1).wait()
        state["w"] += 1
        ckpt.save(2).wait()
        ckpt.restore("1")
        assert state["w"][0] == 0
        ckpt.save(3).wait()
    expected = {"w": np.arange(400_000.0), "v": np.arange(400_000.0)}
    assert_same(holdfast.load(store_path, "r@3", verify="full"), expected)
    assert_same(holdfast.load(store_path, "r@2")["w"], expected["w"] + 1)


# --- policies ---


def test_best_is_not_forgotten_by_the_next_process(store_path: Path) -> None:
    def run(losses: list[float], first: int) -> None:
        state = fresh()
        with Checkpointer(store_path, state, run="r", save=on.best("loss")) as ckpt:
            ckpt.restore()
            for i, loss in enumerate(losses):
                ckpt.step(first + i, metrics={"loss": loss})

    run([3.0, 2.0, 2.5, float("nan"), 2.0], 1)
    assert steps(store_path) == [1, 2]
    run([2.2, 1.9, 2.1], 10)
    assert steps(store_path) == [1, 2, 11]


def test_a_metric_is_read_once_a_step(store_path: Path) -> None:
    class Costly:
        reads = 0

        def __float__(self) -> float:
            Costly.reads += 1
            return 0.5

    policy = every(steps=3) | on.best("loss")
    with Checkpointer(store_path, {"a": 1}, run="r", save=policy) as ckpt:
        for step in range(1, 7):
            ckpt.step(step, metrics={"loss": Costly()})
    assert Costly.reads == 6


def test_retention_is_carried_out_after_each_save(store_path: Path) -> None:
    state = fresh()
    policy = keep.last(2) | keep.best("loss")
    with Checkpointer(store_path, state, run="r", save=every(steps=1), keep=policy) as ckpt:
        for step in range(1, 8):
            train(state, step)
            ckpt.step(step, metrics={"loss": abs(step - 3)})
            if step == 4:
                ckpt.save(100, tag="mine")
    assert steps(store_path) == [3, 100, 6, 7]
    assert holdfast.Store(store_path).verify().ok
    facts = holdfast.Store(store_path).doctor().facts
    assert facts["unneeded_bytes"] == 0


def test_an_exception_saves_the_last_whole_step(store_path: Path) -> None:
    state = fresh()
    with (
        pytest.raises(ZeroDivisionError),
        Checkpointer(store_path, state, run="r", save=every(steps=5) | on.exception()) as ckpt,
    ):
        for step in range(1, 100):
            train(state, step)
            ckpt.step(step)
            if step == 7:
                raise ZeroDivisionError
    assert steps(store_path) == [5, 7]
    assert holdfast.Store(store_path).info("r@7").reason == "exception ZeroDivisionError"
    assert_same(holdfast.load(store_path, "r@7"), state)


def test_without_the_policy_an_exception_saves_nothing(store_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        Checkpointer(store_path, fresh(), run="r", save=every(steps=5)) as ckpt,
    ):
        ckpt.step(1)
        raise ZeroDivisionError
    assert steps(store_path) == []


def test_a_signal_saves_and_leaves(store_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    state, done = fresh(), []
    with (
        pytest.raises(SystemExit) as left,
        Checkpointer(store_path, state, run="r", save=on.signal()) as ckpt,
    ):
        for step in range(1, 100):
            train(state, step)
            if step == 4:
                os.kill(os.getpid(), signal.SIGTERM)
            done.append(step)
            ckpt.step(step)
    assert left.value.code == 128 + signal.SIGTERM
    assert done == [1, 2, 3, 4]
    assert steps(store_path) == [4]
    assert holdfast.Store(store_path).info("r@4").reason == "signal SIGTERM"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_may_save_and_go_on(store_path: Path) -> None:
    save = on.signal(signal.SIGUSR1, then="continue")
    with Checkpointer(store_path, fresh(), run="r", save=save) as ckpt:
        for step in range(1, 6):
            if step == 3:
                os.kill(os.getpid(), signal.SIGUSR1)
            ckpt.step(step)
    assert steps(store_path) == [3]


# --- errors ---


@pytest.mark.parametrize(
    "options",
    [
        {"save": 500},
        {"save": keep.last(1)},
        {"keep": 3},
        {"keep": every(steps=1)},
        {"on_error": "ignore"},
        {"backpressure": "drop"},
        {"in_flight": 0},
        {"in_flight": True},
        {"in_flight": 1.5},
        {"zero_stall": "no"},
        {"only": ""},
        {"run": "a@b"},
    ],
    ids=str,
)
def test_arguments_that_cannot_be(store_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Checkpointer(store_path, {"a": 1}, **{"run": "r"} | options)
    assert not store_path.exists()


@pytest.mark.parametrize("state", [{}, [1], None, {5: 1}, {"@rng": 1}], ids=repr)
def test_states_that_cannot_be(store_path: Path, state: Any) -> None:
    with pytest.raises(UsageError):
        Checkpointer(store_path, state, run="r")
    assert not store_path.exists()


def test_an_unsupported_value_is_refused_at_the_save(store_path: Path) -> None:
    state: dict[str, Any] = {"a": 1}
    with Checkpointer(store_path, state, run="r") as ckpt:
        state["bad"] = {"here": object()}
        with pytest.raises(UnsupportedLeaf, match="bad/here"):
            ckpt.save(1)
        del state["bad"]
        ckpt.save(2).wait()
    assert steps(store_path) == [2]


def test_a_second_run_of_the_same_name_is_refused(store_path: Path) -> None:
    with Checkpointer(store_path, {"a": 1}, run="r") as ckpt:
        ckpt.save(1).wait()
        with pytest.raises(RunBusy, match="being written"):
            Checkpointer(store_path, {"a": 1}, run="r").restore()
        with pytest.raises(RunBusy):
            holdfast.save(store_path, {"a": 1}, run="r", step=2)
        ckpt.save(3).wait()
    assert steps(store_path) == [1, 3]


def break_store(path: Path) -> None:
    """Put a file where the packs of the next save should go."""
    packs = path / "runs" / "r" / "packs"
    packs.rename(path / "packs away")
    packs.write_text("in the way")


def mend_store(path: Path) -> None:
    packs = path / "runs" / "r" / "packs"
    packs.unlink()
    (path / "packs away").rename(packs)


def test_a_failed_save_is_told_at_the_next_call(store_path: Path) -> None:
    state = fresh()
    with Checkpointer(store_path, state, run="r", save=every(steps=1)) as ckpt:
        ckpt.save(1).wait()
        break_store(store_path)
        state["w"] += 1
        handle = ckpt.save(2)
        while not handle.done:
            time.sleep(0.005)
        with pytest.raises(HoldfastError) as caught:
            ckpt.step(3)
        assert caught.value.exit_code == 3
        assert handle.error is caught.value
        mend_store(store_path)
        ckpt.step(4)
    assert steps(store_path) == [1, 4]
    assert_same(holdfast.load(store_path, "r@4"), state)


def test_a_failed_save_is_told_when_closing(store_path: Path) -> None:
    state = fresh()
    ckpt = Checkpointer(store_path, state, run="r")
    ckpt.save(1).wait()
    break_store(store_path)
    state["w"] += 1
    ckpt.save(2)
    with pytest.raises(HoldfastError):
        ckpt.close()
    ckpt.close()
    mend_store(store_path)
    assert steps(store_path) == [1]


def test_a_failed_save_may_only_warn(store_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = fresh()
    with Checkpointer(store_path, state, run="r", on_error="warn") as ckpt:
        ckpt.save(1).wait()
        break_store(store_path)
        state["w"] += 1
        ckpt.save(2)
        ckpt.wait()
        mend_store(store_path)
        ckpt.save(3).wait()
    assert steps(store_path) == [1, 3]
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1 and "step 2" in errors[0]


def test_the_users_own_error_is_the_one_seen(store_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Checkpointer(store_path, fresh(), run="r") as ckpt:
        ckpt.save(1).wait()
        break_store(store_path)
        ckpt._saving._what.state["w"] += 1
        ckpt.save(2)
        raise ZeroDivisionError


def test_a_closed_one_does_nothing_more(store_path: Path) -> None:
    ckpt = Checkpointer(store_path, {"a": 1}, run="r")
    ckpt.close()
    for call in (lambda: ckpt.step(1), lambda: ckpt.save(1), lambda: ckpt.restore()):
        with pytest.raises(UsageError, match="closed"):
            call()
    ckpt.wait()  # Nothing is under way.


@pytest.mark.parametrize("step", [-1, 1.5, None, True, "1"])
def test_steps_that_are_none(store_path: Path, step: Any) -> None:
    with Checkpointer(store_path, {"a": 1}, run="r") as ckpt:
        for call in (ckpt.step, ckpt.save):
            with pytest.raises(UsageError, match="step"):
                call(step)


# --- saves of several threads, and of a run begun anew ---


def test_threads_that_save_at_the_same_time_take_turns(store_path: Path) -> None:
    state = fresh() | {"w": np.zeros(2_000_000)}
    with Checkpointer(store_path, state, run="r") as ckpt:
        with ThreadPoolExecutor(4) as pool:
            handles = list(pool.map(ckpt.save, range(12)))
        assert sorted(handle.wait(60).step for handle in handles) == list(range(12))
    assert sorted(steps(store_path)) == list(range(12))
    assert holdfast.Store(store_path).verify().ok


def test_who_forgets_to_restore_loses_nothing(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Checkpointer(store_path, fresh(), run="r") as ckpt:
        ckpt.save(1000).wait()
    for forgets in (True, False):
        caplog.clear()
        with Checkpointer(store_path, fresh(), run="r", keep=keep.last(1)) as ckpt:
            if not forgets:
                ckpt.restore()
            for step in (5, 10):
                ckpt.save(step).wait()
        assert ("restore() was not called" in caplog.text) == forgets
        # Who has seen what is there may have it removed.
        assert steps(store_path) == ([1000, 10] if forgets else [10])


def test_a_new_run_needs_no_restore(store_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Checkpointer(store_path, fresh(), run="r", keep=keep.last(1)) as ckpt:
        for step in range(3):
            ckpt.save(step).wait()
    assert steps(store_path) == [2]
    assert not caplog.records


def test_generators_of_the_state_are_saved_as_of_the_last_whole_step(store_path: Path) -> None:
    generator = np.random.default_rng(5)
    state = {"w": np.zeros(3), "g": generator}
    expected = [np.random.default_rng(5).random(4)[i] for i in range(4)]
    with (
        pytest.raises(ValueError),
        Checkpointer(store_path, state, run="r", save=on.exception()) as ckpt,
    ):
        for step in range(5):
            drawn = generator.random()
            if step == 3:
                raise ValueError
            state["w"] += drawn
            ckpt.step(step)
    found = holdfast.load(store_path, "r@2")
    assert found["g"].random() == expected[3]
    assert found["w"][0] == sum(expected[:3])


def test_epochs_are_any_real_number(store_path: Path) -> None:
    with Checkpointer(store_path, {"w": np.zeros(3)}, run="r", save=every(steps=1)) as ckpt:
        for step, epoch in enumerate((1, 1.5, np.float32(2.5), np.int64(3))):
            ckpt.step(step, epoch=epoch)
        with pytest.raises(UsageError, match="number of epochs"):
            ckpt.step(4, epoch=True)
    epochs = [info.epoch for info in holdfast.Store(store_path).log("r")]
    assert epochs == [1.0, 1.5, 2.5, 3.0]
