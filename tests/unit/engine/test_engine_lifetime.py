"""A Checkpointer from its making to its end, interrupted anywhere."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer, every, on
from holdfast.engine.saver import Saver
from holdfast.errors import RunBusy


def state() -> dict[str, Any]:
    return {"w": np.zeros(10)}


def test_one_that_nobody_has_any_more_gives_its_run_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ckpt = Checkpointer(tmp_path, state(), run="r")
    ckpt.save(0)
    ckpt._saver.client.wait_ready()
    pid = ckpt._saver.client.pid
    # As a cell of a notebook that is run again: the new one is there before the old one goes.
    ckpt = Checkpointer(tmp_path, state(), run="r")
    gc.collect()
    assert "was not closed" in caplog.text
    assert not Path(f"/proc/{pid}").exists() or not Path("/proc").exists()
    restored = ckpt.restore()
    assert restored is not None and restored.step == 0
    ckpt.close()


def test_two_of_one_process_are_told_of_each_other(tmp_path: Path) -> None:
    with Checkpointer(tmp_path, state(), run="r") as first:
        first._saver.client.wait_ready()
        second = Checkpointer(tmp_path, state(), run="r")
        with pytest.raises(RunBusy, match="this very process") as caught:
            second.restore()
        assert caught.value.pid == os.getpid()


def test_who_was_interrupted_at_closing_may_close_again(tmp_path: Path) -> None:
    ckpt = Checkpointer(tmp_path, state(), run="r")
    ckpt.save(0).wait()
    pid = ckpt._saver.client.pid
    os.kill(pid, signal.SIGSTOP)
    handle = ckpt.save(1)
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        ckpt.close()
    os.kill(pid, signal.SIGCONT)
    handle.wait()
    ckpt.close()
    ckpt.close()
    with Checkpointer(tmp_path, state(), run="r") as again:
        restored = again.restore()
        assert restored is not None and restored.step == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_constructor_that_is_interrupted_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    pids = []

    def prepare(self: Saver, *args: Any, **more: Any) -> None:
        pids.append(self.client.pid)
        raise error

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(Saver, "prepare", prepare)
        with pytest.raises(error):
            Checkpointer(tmp_path, state(), run="r", save=on.signal())
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    with Checkpointer(tmp_path, state(), run="r") as ckpt:
        ckpt.save(0).wait()


def test_an_error_of_the_user_is_seen_though_a_signal_came(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        pytest.raises(SystemExit),
        Checkpointer(tmp_path, state(), run="r", save=on.signal()) as ckpt,
    ):
        ckpt.step(0)
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("my own bug")
    assert "RuntimeError: my own bug" in caplog.text


class Unready:
    def state_dict(self) -> dict[str, Any]:
        raise RuntimeError("not ready")

    def load_state_dict(self, saved: dict[str, Any]) -> None: ...


@pytest.mark.parametrize("policy", [every(steps=100), every(steps=100) | on.exception()])
def test_an_object_that_cannot_tell_its_state_does_not_end_training(
    tmp_path: Path, policy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with Checkpointer(tmp_path, {"o": Unready()}, run="r", save=policy) as ckpt:
        for step in range(1, 4):
            ckpt.step(step)
    assert "not ready" in caplog.text
    assert caplog.text.count("Nothing will be saved if a step is interrupted") <= 1


@pytest.mark.parametrize("wrong", [{"metrics": "a"}, {"epoch": "a"}, {"epoch": True}])
def test_arguments_of_a_step_are_looked_at(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with (
        Checkpointer(tmp_path, state(), run="r") as ckpt,
        pytest.raises(holdfast.errors.UsageError),
    ):
        ckpt.step(0, **wrong)


@pytest.mark.parametrize("nice", [-1, 20, 100, True])
def test_a_niceness_that_is_none_is_refused(tmp_path: Path, nice: Any) -> None:
    with pytest.raises(holdfast.errors.UsageError, match="0 to 19"):
        Checkpointer(tmp_path, state(), run="r", nice=nice)


def test_a_limit_on_files_is_told(tmp_path: Path) -> None:
    """Memory that two processes share is a file, whatever the limit was meant for."""
    code = (
        "import resource, sys, numpy as np, holdfast\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100 << 10, 100 << 10))\n"
        "try:\n"
        "    holdfast.Checkpointer(sys.argv[1], {'w': np.zeros(3)}, run='r')\n"
        "except holdfast.errors.NoSpace as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "s")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "ulimit" in done.stdout, done
