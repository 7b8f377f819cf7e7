"""Zero-stall saves: copied while training goes on, whole all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from absent import required
from holdfast import Checkpointer
from holdfast.engine import snapshot
from holdfast.errors import SnapshotTorn
from holdfast.records import journal
from holdfast.state.guards import guards_in
from holdfast.store.local import LocalStore

torch = required("torch")


class Brake:
    """Holds back the copying of large pieces until it is let go."""

    def __init__(self) -> None:
        self.is_off = threading.Event()
        self.is_off.set()
        self.copied = 0

    def on(self) -> None:
        self.is_off.clear()

    def off_in(self, seconds: float) -> None:
        threading.Timer(seconds, self.is_off.set).start()


@pytest.fixture
def brake() -> Iterator[Brake]:
    brake, as_ever = Brake(), snapshot._copy_pieces

    def copy(queue: Any, news: Any) -> None:
        assert brake.is_off.wait(60)
        as_ever(queue, news)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "_copy_pieces", copy)
        yield brake
    brake.is_off.set()


class Training:
    """A model of some megabytes, its optimizer, a buffer that the forward pass changes."""

    def __init__(self, make: Callable[[Any], Any] | None = None) -> None:
        torch.manual_seed(7)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(700, 700), torch.nn.BatchNorm1d(700), torch.nn.Linear(700, 700)
        )
        make = make or (lambda parameters: torch.optim.AdamW(parameters, lr=0.01))
        self.optimizer = make(self.model.parameters())

    @property
    def state(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer}

    def forward_and_backward(self) -> None:
        self.optimizer.zero_grad()
        self.model(torch.randn(16, 700)).square().mean().backward()

    def step(self) -> None:
        self.forward_and_backward()
        self.optimizer.step()

    def content(self) -> list[Any]:
        leaves = list(self.model.state_dict().values())
        for entry in self.optimizer.state_dict()["state"].values():
            leaves += [entry[name] for name in sorted(entry) if torch.is_tensor(entry[name])]
        return [leaf.clone() for leaf in leaves]


def saved(store: Path, ref: str) -> list[Any]:
    fresh = Training()
    fresh.step()
    holdfast.load(store, ref, into=fresh.state, rng=False)
    return fresh.content()


def same(first: Sequence[Any], second: Sequence[Any]) -> bool:
    return len(first) == len(second) and all(map(torch.equal, first, second))


def opened(store: Path, state: dict[str, Any], **more: Any) -> Checkpointer:
    return Checkpointer(store, state, run="r", zero_stall=True, rng=False, **more)


def test_the_step_of_the_optimizer_waits_and_nothing_else(tmp_path: Path, brake: Brake) -> None:
    training = Training()
    training.step()
    before = training.content()
    with opened(tmp_path, training.state) as ckpt:
        brake.on()
        handle = ckpt.save(0)
        training.forward_and_backward()
        assert not handle.done
        brake.off_in(0.3)
        training.optimizer.step()
        assert brake.is_off.is_set()
        handle.wait()
        assert handle.held_s > 0.1  # Waiting before the step counts.
    assert same(saved(tmp_path, "r@0"), before)
    assert not same(training.content(), before)


def test_every_checkpoint_of_a_run_is_of_its_step(tmp_path: Path) -> None:
    training, expected = Training(), {}
    training.step()
    with opened(tmp_path, training.state, in_flight=2) as ckpt:
        for step in range(8):
            training.step()
            expected[step] = training.content()
            ckpt.save(step)
    for step, content in expected.items():
        assert same(saved(tmp_path, f"r@{step}"), content), step


def test_what_no_optimizer_guards_is_copied_at_once(tmp_path: Path, brake: Brake) -> None:
    training = Training()
    training.step()
    state = training.state
    arrays = {"numpy": np.zeros(1 << 20), "average": torch.zeros(1 << 20)}
    with opened(tmp_path, {**state, "others": arrays}) as ckpt:
        brake.off_in(0.3)
        brake.on()
        handle = ckpt.save(0)
        # These waited for the brake; what follows changes them at once.
        assert brake.is_off.is_set()
        arrays["numpy"] += 1
        arrays["average"] += 1
        training.forward_and_backward()  # Changes the buffers of the normalisation.
        handle.wait()
    tree = holdfast.load(tmp_path, "r@0")
    assert not tree["others"]["numpy"].any()
    assert not tree["others"]["average"].any()


@pytest.mark.parametrize("past_the_counter", [False, True])
def test_another_change_before_the_copy_is_noticed(
    tmp_path: Path, brake: Brake, past_the_counter: bool
) -> None:
    training = Training()
    training.step()
    weight = training.model[0].weight
    with opened(tmp_path, training.state) as ckpt:
        brake.on()
        handle = ckpt.save(0)
        (weight.data if past_the_counter else weight.detach()).mul_(0.5)
        brake.is_off.set()
        with pytest.raises(SnapshotTorn, match=r"0\.weight"):
            handle.wait()
        training.step()
        ckpt.save(1).wait()
    assert [info.step for info in holdfast.Store(tmp_path).log("r")] == [1]
    assert same(saved(tmp_path, "r@1"), training.content())


def test_the_next_call_tells_of_it(tmp_path: Path, brake: Brake) -> None:
    training = Training()
    training.step()
    ckpt = opened(tmp_path, training.state)
    brake.on()
    ckpt.save(0)
    with torch.no_grad():
        training.model[0].weight.mul_(0.5)
    brake.is_off.set()
    with pytest.raises(SnapshotTorn):
        ckpt.close()


def test_loading_into_the_optimizer_waits(tmp_path: Path, brake: Brake) -> None:
    training = Training()
    training.step()
    before, other = training.content(), training.optimizer.state_dict()
    with opened(tmp_path, training.state) as ckpt:
        brake.on()
        ckpt.save(0)
        brake.off_in(0.2)
        training.optimizer.load_state_dict(other)
        assert brake.is_off.is_set()
    assert same(saved(tmp_path, "r@0"), before)


def test_restoring_waits(tmp_path: Path, brake: Brake) -> None:
    training = Training()
    training.step()
    before = training.content()
    with opened(tmp_path, training.state) as ckpt:
        ckpt.save(0).wait()
        training.step()
        brake.on()
        ckpt.save(1)
        brake.off_in(0.2)
        ckpt.restore(0)
        assert brake.is_off.is_set()
        assert same(training.content(), before)


def test_a_slot_is_not_used_again_while_it_is_still_written(tmp_path: Path, brake: Brake) -> None:
    training = Training()
    training.step()
    with opened(tmp_path, training.state, on_error="warn") as ckpt:
        brake.on()
        handle = ckpt.save(0)
        handle.fail(SnapshotTorn("as if its save had failed already"))
        brake.off_in(0.2)
        second = ckpt.save(1)
        assert brake.is_off.is_set()
        second.wait()
    assert same(saved(tmp_path, "r@1"), training.content())


def test_the_hooks_are_gone_when_the_run_is_closed(tmp_path: Path) -> None:
    training = Training()
    with opened(tmp_path, training.state) as ckpt:
        ckpt.save(0).wait()
        assert training.optimizer._optimizer_step_pre_hooks
    assert not training.optimizer._optimizer_step_pre_hooks
    assert not training.optimizer._optimizer_load_state_dict_pre_hooks


def test_an_optimizer_that_is_replaced_is_watched_instead(tmp_path: Path) -> None:
    training = Training()
    state = training.state
    with opened(tmp_path, state) as ckpt:
        ckpt.save(0).wait()
        old = training.optimizer
        training.optimizer = state["optimizer"] = torch.optim.SGD(training.model.parameters())
        ckpt.save(1).wait()
        assert not old._optimizer_step_pre_hooks
        assert training.optimizer._optimizer_step_pre_hooks


def test_guards_are_found_once_wherever_they_are() -> None:
    training = Training()
    state = {"a": [training.optimizer], "b": (training.optimizer, {"c": training.model}), "d": 1}
    assert [guard for guard, _ in guards_in(state)] == [training.optimizer]


def test_a_state_without_optimizers_is_copied_at_once(tmp_path: Path) -> None:
    array = np.zeros(1 << 20)
    with opened(tmp_path, {"w": array}) as ckpt:
        ckpt.save(0)
        array += 1
    assert not holdfast.load(tmp_path, "r@0")["w"].any()


def test_a_copy_that_cannot_begin_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, begin = Training(), snapshot.Copier._start

    def no_thread(copier: Any, pieces: Any, news: Any) -> Any:
        if pieces:
            raise RuntimeError("can't start new thread")
        return begin(copier, pieces, news)

    with Checkpointer(tmp_path, training.state, run="r", zero_stall=True) as ckpt:
        training.step()
        with monkeypatch.context() as patch:
            patch.setattr(snapshot.Copier, "_start", no_thread)
            with pytest.raises(RuntimeError, match="new thread"):
                ckpt.save(0)
        stepping = threading.Thread(target=training.step, daemon=True)
        stepping.start()
        stepping.join(30)
        assert not stepping.is_alive()
        ckpt.save(1).wait()
    assert [info.step for info in holdfast.Store(tmp_path).log("r")] == [1]


def test_the_journal_tells_how_long_the_snapshot_took(tmp_path: Path, brake: Brake) -> None:
    training = Training()
    training.forward_and_backward()
    training.optimizer.step()
    with Checkpointer(tmp_path, training.state, run="r", zero_stall=True) as ckpt:
        brake.on()
        handle = ckpt.save(0)
        held_s = handle.held_s
        brake.off_in(0.5)
        handle.wait()
        ckpt.save(1).wait()
    events = journal.events(LocalStore(tmp_path), "r")
    first, second = (e for e in events if e["event"] == "saved")
    # The copying went on while the loop was not held.
    assert first["snapshot_s"] >= 0.5 > held_s
    assert 0 < second["snapshot_s"] < first["snapshot_s"]
