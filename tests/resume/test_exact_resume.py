"""Training for n steps equals training to k, dying, and resuming to n: bit for bit, at every k."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from absent import required

torch = required("torch")

from training import RUN, STEPS, Nobody, Training  # noqa: E402

import holdfast  # noqa: E402
from holdfast import Checkpointer, every, on  # noqa: E402

HERE = Path(__file__).parent


def reference(**how: Any) -> dict[str, str]:
    """Return the fingerprint of a training that never stopped and never saved anything."""
    training = Training(**how)
    training.train(Nobody(0), STEPS)
    return training.fingerprint()


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_at_every_step(tmp_path: Path, optimizer: str) -> None:
    expected = reference(optimizer=optimizer)
    training = Training(optimizer=optimizer)
    with Checkpointer(tmp_path, training.state, run="base", save=every(steps=1)) as ckpt:
        ckpt.save(0).wait()  # every() does not save at step 0, and this is not its state
        training.train(ckpt, STEPS)
    assert differences(training.fingerprint(), expected) == []
    for k in range(1, STEPS):
        resumed = Training(seed=100 + k, optimizer=optimizer)
        if k in (1, 5, 6, STEPS - 1):  # a Checkpointer for some of them: it takes a process
            with Checkpointer(tmp_path, resumed.state, run=f"from {k}") as ckpt:
                restored = ckpt.restore(f"base@{k}")
                assert restored is not None and ckpt.next_step == k + 1
                resumed.train(ckpt, STEPS)
        else:
            holdfast.load(tmp_path, f"base@{k}", into=resumed.state, rng=True)
            resumed.train(Nobody(k + 1), STEPS)
        assert differences(resumed.fingerprint(), expected) == [], f"resumed after step {k}"


def test_one_death_after_the_other(tmp_path: Path) -> None:
    """Every life trains for a few steps, and the next one takes over."""
    expected = reference()
    for life in range(5):
        training = Training(seed=life)
        with Checkpointer(tmp_path, training.state, run=RUN, save=every(steps=1)) as ckpt:
            ckpt.restore()
            training.train(ckpt, min(ckpt.next_step + 5, STEPS))
    assert differences(training.fingerprint(), expected) == []


def test_resumed_with_another_number_of_workers(tmp_path: Path) -> None:
    expected = reference()
    training = Training(workers=2)
    with Checkpointer(tmp_path, training.state, run=RUN, save=every(steps=4)) as ckpt:
        training.train(ckpt, 9)
    resumed = Training(seed=1, workers=0)
    with Checkpointer(tmp_path, resumed.state, run=RUN) as ckpt:
        restored = ckpt.restore()
        assert restored is not None and restored.step == 8
        resumed.train(ckpt, 14)
        ckpt.save(13).wait()
    again = Training(seed=2, workers=1)
    with Checkpointer(tmp_path, again.state, run=RUN) as ckpt:
        ckpt.restore()
        again.train(ckpt, STEPS)
    assert differences(again.fingerprint(), expected) == []


# --- exceptions ---


class Trouble(Exception):
    pass


def interrupted(
    folder: Path, place: str, step: int, error: type[BaseException] = Trouble, **how: Any
) -> int | None:
    """Train until an exception at some place of some step; return which step is saved then."""
    training = Training(**how)

    def fail(here: str, now: int) -> None:
        if (here, now) == (place, step):
            raise error

    training.at = fail
    if place == "in the dataset":
        fetched = [0]

        def fetch(index: int) -> None:
            fetched[0] += 1
            if fetched[0] > 8 * step + 2:
                raise error

        training.images.on_fetch = fetch
    with (
        pytest.raises(error),
        Checkpointer(folder, training.state, run=RUN, save=on.exception()) as ckpt,
    ):
        training.train(ckpt, STEPS)
    log = holdfast.Store(folder).log(RUN)
    return log[-1].step if log else None


def resumed_fingerprint(folder: Path, **how: Any) -> dict[str, str]:
    training = Training(seed=77, **how)
    with Checkpointer(folder, training.state, run=RUN) as ckpt:
        if ckpt.restore() is None:
            training = Training(**how)
        training.train(ckpt, STEPS)
    return training.fingerprint()


HARMLESS = ["in the dataset", "with a batch", "after the step"]
IN_THE_MIDDLE = [
    "after forward",
    "after backward",
    "after the optimizer",
    "before the step ends",
    "after the epoch",
]


@pytest.mark.parametrize("place", HARMLESS)
@pytest.mark.parametrize("step", [3, 5, 6])
def test_an_exception_between_two_steps_loses_nothing(
    tmp_path: Path, place: str, step: int
) -> None:
    """The last whole step is saved; the batch at hand is trained with again, not skipped."""
    saved = interrupted(tmp_path, place, step)
    wanted = step if place == "after the step" else step - 1
    # Between 5 and 6 the epoch ends: a scheduler has stepped, the last whole step may be lost.
    assert saved == wanted or (wanted == 5 and step == 6 and saved is None)
    assert differences(resumed_fingerprint(tmp_path), reference()) == []


@pytest.mark.parametrize("batch_norm", [True, False], ids=["batch norm", "group norm"])
@pytest.mark.parametrize("place", IN_THE_MIDDLE)
def test_an_exception_within_a_step_saves_no_mixture(
    tmp_path: Path, place: str, batch_norm: bool
) -> None:
    """Either the last whole step is saved as it was, or nothing is."""
    step = 6 if place == "after the epoch" else 4
    interrupted(tmp_path, place, step, batch_norm=batch_norm)
    found = resumed_fingerprint(tmp_path, batch_norm=batch_norm)
    assert differences(found, reference(batch_norm=batch_norm)) == []


def test_ctrl_c_is_an_exception_too(tmp_path: Path) -> None:
    assert interrupted(tmp_path, "with a batch", 7, KeyboardInterrupt) == 6
    assert differences(resumed_fingerprint(tmp_path), reference()) == []


# --- state without counters of changes ---


class Position:
    """A loader of somebody else's, with a state of its own."""

    def __init__(self) -> None:
        self.position = 0

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = state["position"]


def _numpy_array() -> tuple[Any, Callable[[Any], None], Callable[[Any], Any]]:
    import numpy as np

    def change(array: Any) -> None:
        array += 1

    return np.zeros(1000), change, lambda array: float(array[0])


def _foreign_loader() -> tuple[Any, Callable[[Any], None], Callable[[Any], Any]]:
    def change(loader: Position) -> None:
        loader.position += 1

    return Position(), change, lambda loader: loader.position


def _tensor_data() -> tuple[Any, Callable[[Any], None], Callable[[Any], Any]]:
    def change(tensor: Any) -> None:
        tensor.data.add_(1)

    return torch.zeros(1000), change, lambda tensor: float(tensor[0])


def _plain_value() -> tuple[Any, Callable[[Any], None], Callable[[Any], Any]]:
    def change(counts: dict[str, int]) -> None:
        counts["seen"] += 1

    return {"seen": 0}, change, lambda counts: counts["seen"]


def _own_loader() -> tuple[Any, Callable[[Any], None], Callable[[Any], Any]]:
    sampler = holdfast.data.Sampler(100, seed=1)
    iterator = iter(sampler)

    def change(holder: dict[str, Any]) -> None:
        next(iterator)

    return {"train": sampler}, change, lambda holder: holder["train"].position


@pytest.mark.parametrize(
    "make", [_numpy_array, _foreign_loader, _tensor_data, _plain_value, _own_loader]
)
def test_what_an_interrupted_step_has_changed_is_not_saved_as_the_step_before(
    tmp_path: Path, make: Callable[[], tuple[Any, Callable[[Any], None], Callable[[Any], Any]]]
) -> None:
    """Each step changes a value once; a checkpoint of step k has k + 1 changes, or is not there."""
    value, change, read = make()
    with (
        pytest.raises(Trouble),
        Checkpointer(tmp_path, {"value": value}, run=RUN, save=on.exception()) as ckpt,
    ):
        for step in range(4):
            change(value)
            if step == 3:
                raise Trouble
            ckpt.step(step)
    for info in holdfast.Store(tmp_path).log(RUN):
        fresh = make()[0]
        holdfast.load(tmp_path, info.ref, into={"value": fresh})
        assert read(fresh) == info.step + 1


# --- processes that die ---


def run(store: Path, *options: object, expect: int) -> None:
    command = [sys.executable, str(HERE / "training.py"), str(store), *map(str, options)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, start_new_session=True, check=False
    )
    assert done.returncode == expect, done.stdout + done.stderr


def test_a_killed_process(tmp_path: Path) -> None:
    options = ("--every", 3, "--die", "kill", "--at", "after the optimizer:13")
    run(tmp_path, *options, expect=-signal.SIGKILL)
    assert differences(resumed_fingerprint(tmp_path), reference()) == []
    assert [info.step for info in holdfast.Store(tmp_path).log(RUN)] == [3, 6, 9, 12]


def test_a_process_that_leaves_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    run(tmp_path, "--every", 1, "--die", "exit", "--at", "after the epoch:12", expect=9)
    assert differences(resumed_fingerprint(tmp_path), reference()) == []


@pytest.mark.parametrize(
    ("how", "place", "step", "workers"),
    [
        ("term", "after forward", 4, 0),
        ("term", "after the epoch", 6, 0),
        ("group", "with a batch", 8, 2),
    ],
)
def test_asked_to_leave_by_a_signal(
    tmp_path: Path, how: str, place: str, step: int, workers: int
) -> None:
    """The step at hand is finished and saved, the exit status says why, the resume is exact."""
    options = ("--workers", workers, "--die", how, "--at", f"{place}:{step}")
    run(tmp_path, *options, expect=128 + signal.SIGTERM)
    log = holdfast.Store(tmp_path).log(RUN)
    # Workers that die of it may end the step in its middle.
    assert [info.step for info in log] == [step] or workers
    assert "SIGTERM" in log[-1].reason
    assert holdfast.Store(tmp_path).verify().ok
    assert differences(resumed_fingerprint(tmp_path), reference()) == []


def test_spawned_workers_die_of_the_signal_too(tmp_path: Path) -> None:
    """They do not wait for the end of the step: PyTorch raises an error in the middle of it."""
    options = ("--workers", 1, "--context", "spawn", "--every", 2)
    die = ("--die", "group", "--at", "with a batch:5")
    run(tmp_path, *options, *die, expect=128 + signal.SIGTERM)
    assert holdfast.Store(tmp_path).log(RUN)[-1].step >= 4
    assert holdfast.Store(tmp_path).verify().ok
    assert differences(resumed_fingerprint(tmp_path), reference()) == []


def test_an_error_of_a_dying_worker_while_the_signal_is_answered(tmp_path: Path) -> None:
    """``step`` has taken the signal and waits for the save, when PyTorch's handler raises."""

    def raise_error(number: int, frame: object) -> None:
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Terminated.")

    training = Training()
    previous = signal.signal(signal.SIGALRM, raise_error)
    try:
        with (
            pytest.raises(SystemExit) as left,
            Checkpointer(tmp_path, training.state, run=RUN, save=on.signal()) as ckpt,
        ):
            ckpt.restore()
            training.train(ckpt, 3)
            pid = ckpt._saver.client.pid
            os.kill(pid, signal.SIGSTOP)
            threading.Timer(1.0, os.kill, (pid, signal.SIGCONT)).start()
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            signal.raise_signal(signal.SIGTERM)
            ckpt.step(2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert left.value.code == 128 + signal.SIGTERM
    assert [info.step for info in holdfast.Store(tmp_path).log(RUN)] == [2]


def test_a_signal_while_the_run_is_being_closed_is_not_lost(tmp_path: Path) -> None:
    """It was asked to leave, so it does not go on with what comes after training."""
    training = Training()
    with (
        pytest.raises(SystemExit) as left,
        Checkpointer(tmp_path, training.state, run=RUN, save=on.signal()) as ckpt,
    ):
        training.train(ckpt, 2)
        ckpt.save(1)
        pid = ckpt._saver.client.pid
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        threading.Timer(1.0, os.kill, (pid, signal.SIGCONT)).start()
    assert left.value.code == 128 + signal.SIGTERM
    assert [info.step for info in holdfast.Store(tmp_path).log(RUN)] == [1]
