"""The process that writes, seen from a trainer: held up, killed, and not to be had."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_checks import assert_same

import holdfast
from holdfast import Checkpointer, errors, every
from holdfast.engine.writer_lock import WriterLock
from holdfast.errors import RunBusy
from holdfast.store.local import LocalStore


def steps(path: Path) -> list[int]:
    return [info.step for info in holdfast.Store(path).log("r")]


# --- back-pressure ---


def stopped(ckpt: Checkpointer) -> int:
    """Stop the process that writes, so that a save stays under way."""
    pid: int = ckpt._saver.client.pid
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_a_save_that_is_due_too_early_may_be_skipped(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = {"w": np.zeros(50_000)}
    options = {"save": every(steps=1), "backpressure": "skip"}
    with Checkpointer(store_path, state, run="r", **options) as ckpt:  # type: ignore[arg-type]
        ckpt.save(0).wait()
        pid = stopped(ckpt)
        first = ckpt.step(1)
        assert first is not None
        assert ckpt.step(2) is None and ckpt.step(3) is None
        os.kill(pid, signal.SIGCONT)
        first.wait()
        assert ckpt.step(4) is not None
    assert steps(store_path) == [0, 1, 4]
    assert sum("was not saved" in r.getMessage() for r in caplog.records) == 2


def test_two_may_be_in_flight(store_path: Path) -> None:
    state = {"w": np.zeros(1000)}
    with Checkpointer(store_path, state, run="r", in_flight=2) as ckpt:
        ckpt.save(0).wait()
        pid = stopped(ckpt)
        handles = []
        for step in (1, 2):
            state["w"][:] = step
            handles.append(ckpt.save(step))
        assert not any(h.done for h in handles)
        os.kill(pid, signal.SIGCONT)
        for handle in handles:
            handle.wait(timeout_s=60)
    for step in (1, 2):
        assert holdfast.load(store_path, f"r@{step}")["w"][0] == step


# --- the process that writes ---


def test_another_persister_takes_over_what_one_had_in_hand(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = {"w": np.zeros(50_000)}
    with Checkpointer(store_path, state, run="r") as ckpt:
        ckpt.save(0).wait()
        pid = stopped(ckpt)
        state["w"][:] = 1
        handle = ckpt.save(1)
        os.kill(pid, signal.SIGKILL)
        assert handle.wait(timeout_s=60).step == 1
        assert ckpt._saver.client.pid != pid
        state["w"][:] = 2
        assert ckpt.save(2).wait().stored_bytes > 400_000
    assert steps(store_path) == [0, 1, 2]
    for step in (0, 1, 2):
        assert holdfast.load(store_path, f"r@{step}")["w"][0] == step
    assert any("another one is started" in r.getMessage() for r in caplog.records)


@pytest.mark.parametrize("persister_sees_it_begin", [True, False])
def test_a_snapshot_that_fails_leaves_no_trace(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, persister_sees_it_begin: bool
) -> None:
    from holdfast.state.numpy_arrays import NumpyAdapter

    def fail(*args: Any) -> None:
        time.sleep(0.05 * persister_sees_it_begin)
        raise MemoryError("no room")

    state = {"a": np.zeros(300_000), "turned": np.zeros((3, 4)).T, "n": 0}
    with Checkpointer(store_path, state, run="r") as ckpt:
        ckpt.save(0).wait()
        pid = ckpt._saver.client.pid if persister_sees_it_begin else stopped(ckpt)
        with monkeypatch.context() as patch:
            patch.setattr(NumpyAdapter, "export", fail)
            state["a"][:] = 1
            state["n"] = 1
            with pytest.raises(MemoryError):
                ckpt.save(1)
        os.kill(pid, signal.SIGCONT)
        state["a"][:] = 2
        state["n"] = 2
        ckpt.save(2).wait(timeout_s=60)
    assert steps(store_path) == [0, 2]
    found = holdfast.load(store_path, "r@2", verify="full")
    assert_same(found, {"a": np.full(300_000, 2.0), "turned": np.zeros((4, 3)), "n": 2})


def test_what_cannot_be_saved_is_told_at_the_first_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Checkpointer(tmp_path, {"odd": {1, 2}}, run="r", save=every(hours=1)) as ckpt:
        ckpt.step(0)
        assert "cannot be saved as it is now: 'odd' is a builtins.set" in caplog.text
        caplog.clear()
        ckpt.step(1)
        assert caplog.text == ""


def test_a_persister_that_cannot_be_started_again_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The saves under way fail, and say why; the next one tries again."""
    state = {"w": np.arange(1000)}
    real = subprocess.Popen

    def no_process(*args: Any, **options: Any) -> Any:
        raise OSError(errno.EAGAIN, "no process to be had")

    with Checkpointer(tmp_path, state, run="r", on_error="warn") as ckpt:
        ckpt.save(1).wait()
        pid = ckpt._saver.client.pid
        os.kill(pid, signal.SIGSTOP)
        under_way = ckpt.save(2)
        monkeypatch.setattr(subprocess, "Popen", no_process)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(errors.PersisterDied, match="no process to be had"):
            under_way.wait(60)
        with pytest.raises(errors.PersisterDied, match="no process to be had"):
            ckpt.save(3).wait(60)
        monkeypatch.setattr(subprocess, "Popen", real)
        ckpt.save(4).wait(60)
    assert [info.step for info in holdfast.Store(tmp_path).log("r")] == [1, 4]


def test_persisters_that_die_as_they_start_are_not_started_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the environment was taken away under a training that goes on."""
    real, started = subprocess.Popen, []

    def dies(command: list[str], **options: Any) -> Any:
        started.append(command)
        return real([sys.executable, "-c", "raise SystemExit(7)"], **options)

    with Checkpointer(tmp_path, {"n": 1}, run="r", on_error="warn") as ckpt:
        ckpt.save(1).wait()
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", dies)
            client = ckpt._saver.client
            os.kill(client.pid, signal.SIGKILL)
            while len(started) < 10 and not client._is_down:
                time.sleep(0.01)
            assert len(started) == 3
            with pytest.raises(errors.PersisterDied, match="status 7"):
                ckpt.save(2).wait(60)
        ckpt.save(3).wait(60)
    assert [info.step for info in holdfast.Store(tmp_path).log("r")] == [1, 3]


def test_a_persister_that_does_not_get_the_run_back_is_no_reason_to_give_up(tmp_path: Path) -> None:
    """As where somebody repaired the store at the moment when one was killed."""
    lock = WriterLock(LocalStore(str(tmp_path)), "r")
    with Checkpointer(tmp_path, {"n": 1}, run="r", on_error="warn") as ckpt:
        ckpt.save(1).wait()
        os.kill(ckpt._saver.client.pid, signal.SIGKILL)
        while not lock._held:
            with contextlib.suppress(RunBusy):
                lock.acquire(os.getppid(), patience_s=0)
        for step in (2, 3):
            with pytest.raises(RunBusy):
                ckpt.save(step).wait(60)
        lock.release()
        ckpt.save(4).wait(60)
    assert [info.step for info in holdfast.Store(tmp_path).log("r")] == [1, 4]


def test_a_persister_that_is_started_again_makes_no_store_where_one_is_gone(
    tmp_path: Path,
) -> None:
    """As where the disk was unmounted: what is saved beside it would be lost under it."""
    path, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    with Checkpointer(path, {"n": 1}, run="r", on_error="warn") as ckpt:
        ckpt.save(1).wait()
        path.rename(elsewhere)
        os.kill(ckpt._saver.client.pid, signal.SIGKILL)
        with pytest.raises(errors.StoreUnavailable, match="Was it moved"):
            ckpt.save(2).wait(60)
        assert not path.exists()
        elsewhere.rename(path)
        ckpt.save(3).wait(60)
    assert [info.step for info in holdfast.Store(path).log("r")] == [1, 3]


def test_a_process_that_cannot_be_started_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "none"))
    with pytest.raises(errors.PersisterDied, match="could not be started"):
        Checkpointer(tmp_path, {"n": 1}, run="r")


DAEMON = """
import sys, numpy, holdfast
with holdfast.Checkpointer(sys.argv[1], {"w": numpy.arange(9)}, run="r") as ckpt:
    ckpt.save(1).wait()
"""


def test_a_daemon_without_standard_files_saves(tmp_path: Path) -> None:
    command = '"$0" -c "$1" "$2" <&- >&- 2>&-'
    subprocess.run(["sh", "-c", command, sys.executable, DAEMON, str(tmp_path)], check=True)
    assert steps(tmp_path) == [1]
    assert holdfast.Store(tmp_path).verify().ok
