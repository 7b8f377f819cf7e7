"""Watching and rolling back in a run of its own."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import holdfast
from holdfast import Checkpointer, every, watch
from holdfast.engine import watching
from holdfast.engine.watching import Watcher
from holdfast.errors import NotFound, StoreUnavailable, UsageError
from holdfast.records import journal
from holdfast.store.local import LocalStore


def validation(step: int) -> float:
    return 1.0 + abs(step - 10) / 20


def test_a_run_that_overfits_is_told_of_the_way_back(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = {"w": np.zeros(1000)}
    policy = watch.overfitting("loss", "val_loss") | watch.divergence("loss")
    with Checkpointer(store_path, state, run="r", save=every(steps=1), watch=policy) as ckpt:
        for step in range(25):
            handle = ckpt.step(step, {"loss": 1 / (step + 1), "val_loss": validation(step)})
            handle.wait()
    [warning] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "val_loss has risen from 1 at step 10" in warning
    assert "Best is r@10" in warning
    assert "'holdfast rollback r@best:val_loss' or ckpt.rollback('best:val_loss')" in warning
    [event] = [e for e in journal.events(LocalStore(str(store_path)), "r") if "since_step" in e]
    assert (event["event"], event["since_step"]) == ("overfitting", 10)
    back = int(warning.split(" checkpoint(s) back")[0].rsplit(" ", 1)[1])
    # The save of the step itself may not be durable yet.
    assert event["step"] - 11 <= back <= event["step"] - 10


def test_a_run_that_goes_on_knows_what_was_before(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of what was logged, saved or not: the best was at a step that no checkpoint has."""

    def train(until: int) -> None:
        policy = watch.overfitting("loss", "val_loss")
        with Checkpointer(
            store_path, {"w": np.zeros(10)}, run="r", save=every(steps=6), watch=policy
        ) as ckpt:
            ckpt.restore()
            for step in range(ckpt.next_step, until):
                ckpt.step(step, {"loss": 1 / (step + 1), "val_loss": validation(step)})

    train(13)
    assert not caplog.records
    train(20)
    [warning] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "val_loss has risen from 1 at step 10" in warning
    # What was found before is not told again.
    caplog.clear()
    train(30)
    assert not caplog.records


def test_the_way_back_where_no_checkpoint_has_the_metric(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Checkpointer(store_path, {"w": np.zeros(10)}, run="r") as ckpt:
        for step in range(0, 24, 2):
            ckpt.step(step, {"loss": 1 / (step + 1), "val_loss": validation(step)})
            ckpt.save(step + 1).wait()
    store = LocalStore(str(store_path))
    watcher = Watcher(watch.overfitting("loss", "val_loss"), store, "r")
    watcher.restart(after_step=14)
    for step in range(16, 40, 2):
        watcher.look(step, {"loss": 1 / (step + 1), "val_loss": validation(step)})
    [warning] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "since" not in warning and "at step 10" in warning
    assert "The last one before it is r@9" in warning


def test_a_way_back_that_cannot_be_looked_up_costs_no_step(
    store_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*args: Any) -> Any:
        raise StoreUnavailable("out of reach")

    watcher = Watcher(watch.overfitting("loss", "val_loss"), LocalStore(str(store_path)), "r")
    monkeypatch.setattr(watching, "read_metrics", unavailable)
    for step in range(30):
        watcher.look(step, {"loss": 1 / (step + 1), "val_loss": validation(step)})
    [warning] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "Which checkpoint is best cannot be told: out of reach" in warning


def test_divergence_is_told_with_the_last_good_checkpoint(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Checkpointer(
        store_path, {"w": 1}, run="r", save=every(steps=5), watch=watch.divergence("loss")
    ) as ckpt:
        for step in range(20):
            if (handle := ckpt.step(step, {"loss": torch.tensor(1.0)})) is not None:
                handle.wait()
        ckpt.step(20, {"loss": torch.tensor(math.nan)})
    [warning] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "loss is nan at step 20" in warning
    assert "The last one before it is r@15" in warning
    assert "ckpt.rollback('15')" in warning


def test_a_watch_reads_only_what_it_wants(store_path: Path) -> None:
    class Unread:
        def item(self) -> float:
            raise AssertionError("nobody asked for it")

    class Counted:
        reads = 0

        def item(self) -> float:
            Counted.reads += 1
            return 1.0

    watcher = Watcher(watch.divergence("loss", every=10), LocalStore(str(store_path)), "r")
    for step in range(100):
        watcher.look(step, {"loss": Counted(), "other": Unread()})
    assert Counted.reads == 10
    watcher.look(100, None)
    Watcher(None, LocalStore(str(store_path)), "r").look(1, {"other": Unread()})


def test_metrics_of_the_wrong_type_are_refused(store_path: Path) -> None:
    with Checkpointer(store_path, {"w": 1}, run="r", watch=watch.divergence("loss")) as ckpt:
        with pytest.raises(UsageError, match="'lr' is 'fast'"):
            ckpt.step(0, {"lr": "fast"})
        with pytest.raises(UsageError, match="'loss' is 'high'"):
            ckpt.step(1, {"loss": "high"})
    with pytest.raises(UsageError, match="watch= takes"):
        Checkpointer(store_path, {"w": 1}, run="r", watch="loss")  # type: ignore[arg-type]


def test_a_warning_without_checkpoints_says_so(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy = watch.divergence("loss") | watch.overfitting("loss", "v")
    with Checkpointer(store_path, {"w": 1}, run="r", watch=policy) as ckpt:
        for step in range(25):
            ckpt.step(step, {"loss": -step, "v": validation(step)})
        ckpt.step(25, {"loss": math.inf})
    first, second = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "No checkpoint has v" in first
    assert "There is no checkpoint from before it" in second


# --- rollback ---


def training() -> tuple[torch.nn.Module, torch.optim.Optimizer, dict[str, Any]]:
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    return model, optimizer, {"model": model, "optimizer": optimizer, "seen": [0]}


def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    optimizer.zero_grad()
    model(torch.randn(4, 8)).square().mean().backward()
    optimizer.step()
    state["seen"][0] += 1


def copied(model: torch.nn.Module) -> torch.Tensor:
    return model.weight.detach().clone()


def test_a_rollback_goes_on_as_if_the_rest_had_not_been(store_path: Path) -> None:
    model, optimizer, state = training()
    with Checkpointer(store_path, state, run="r", save=every(steps=1)) as ckpt:
        weights = []
        for step in range(6):
            train(model, optimizer, state)
            ckpt.step(step, {"val_loss": abs(step - 2)})
            weights.append(copied(model))
        parameter = model.weight
        restored = ckpt.rollback("best:val_loss")
        assert (restored.step, restored.ref, ckpt.next_step) == (2, "r@2", 3)
        assert model.weight is parameter and torch.equal(model.weight, weights[2])
        assert state["seen"] == [3]
        # Optimizer and random numbers too: the same steps give the same weights.
        for step in range(3, 6):
            train(model, optimizer, state)
            assert torch.equal(model.weight, weights[step])
        info = ckpt.save(3).wait()
    log = holdfast.Store(store_path).log("r")
    assert [i.step for i in log] == [0, 1, 2, 3, 4, 5, 3]
    assert info.parent == log[2].id
    events = journal.events(LocalStore(str(store_path)), "r")
    [event] = [e for e in events if e["event"] == "rolled-back"]
    assert (event["step"], event["ref"], event["from_id"]) == (2, "r@2", log[5].id)


def test_a_rollback_of_the_weights_alone(store_path: Path) -> None:
    model, optimizer, state = training()
    with Checkpointer(store_path, state, run="r", save=every(steps=1)) as ckpt:
        for step in range(4):
            train(model, optimizer, state)
            ckpt.step(step)
            if step == 1:
                wanted = copied(model)
        moments = [s["exp_avg"].clone() for s in optimizer.state.values()]
        generator = torch.get_rng_state()
        ckpt.rollback(1, skip=["optimizer/**", "seen/**", "@rng"])
        assert torch.equal(model.weight, wanted)
        assert state["seen"] == [4]
        assert torch.equal(torch.get_rng_state(), generator)
        for before, now in zip(moments, optimizer.state.values(), strict=True):
            assert torch.equal(before, now["exp_avg"])
        ckpt.rollback(3, only="model/**")
        assert not torch.equal(model.weight, wanted) and state["seen"] == [4]


def test_a_rollback_waits_for_the_save_under_way(store_path: Path) -> None:
    state = {"w": np.zeros(2_000_000)}
    with Checkpointer(store_path, state, run="r") as ckpt:
        for step in range(3):
            state["w"][:] = step
            ckpt.save(step)
        ckpt.rollback(2)
        assert bool((state["w"] == 2).all())


def test_a_rollback_to_nothing_changes_nothing(store_path: Path) -> None:
    state = {"w": np.zeros(10)}
    with Checkpointer(store_path, state, run="r") as ckpt:
        for name in ("latest", "best:loss", 3, "tag"):
            with pytest.raises(NotFound):
                ckpt.rollback(name)
        ckpt.save(1).wait()
        state["w"] += 1
        with pytest.raises(NotFound):
            ckpt.rollback(3)
        with pytest.raises(UsageError, match="named"):
            ckpt.rollback(None)  # type: ignore[arg-type]
        assert ckpt.next_step == 0 and bool((state["w"] == 1).all())


def test_after_a_rollback_the_watch_begins_anew(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy = watch.overfitting("loss", "v")
    with Checkpointer(store_path, {"w": 1}, run="r", save=every(steps=1), watch=policy) as ckpt:
        for _ in range(2):
            for step in range(ckpt.next_step, 25):
                ckpt.step(step, {"loss": -step, "v": validation(step)})
            ckpt.rollback(10)
    told = [r.getMessage() for r in caplog.records if "has risen" in r.getMessage()]
    assert len(told) == 2


# --- from the command line ---


def test_a_store_is_rolled_back_for_the_next_start(store_path: Path) -> None:
    state = {"w": np.zeros(100_000), "frozen": np.ones(1_000_000)}
    for step in range(4):
        state["w"][:] = step
        holdfast.save(store_path, state, run="r", step=step, metrics={"v": abs(step - 1)})
    store = holdfast.Store(store_path)
    old = store.info("r@1")
    info = store.rollback("r@best:v")
    assert (info.step, info.seq, info.parent, info.metrics) == (1, 5, old.id, old.metrics)
    assert info.stored_bytes < 1_000_000, "what the newest has too is not written again"
    assert store.verify().ok and len(store.log("r")) == 5
    resumed = {"w": np.zeros(100_000), "frozen": np.zeros(1_000_000)}
    with Checkpointer(store_path, resumed, run="r", rng=False) as ckpt:
        assert ckpt.restore().step == 1
        assert bool((resumed["w"] == 1).all()) and ckpt.next_step == 2
        ckpt.save(2).wait()
        with pytest.raises(holdfast.errors.RunBusy):
            store.rollback("r@0")
    with pytest.raises(UsageError, match="newest of its run already"):
        store.rollback("r@latest")
