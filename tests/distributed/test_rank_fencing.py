"""Two trainings of one run at once, by mistake: the older one commits nothing any more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import holdfast
from distributed.launching import HERE, IS_FULL, SOURCES
from distributed.test_rank_slots import Trainings, stopped, trainings, until
from holdfast import errors


def forget_lock(store: Path) -> None:
    """Make another lock of the run's: as on another machine, where the folder's does not reach."""
    (store / "runs" / "r" / "writer.lock").unlink()


def wait_refused(both: Trainings, handles: list[holdfast.engine.handle.SaveHandle]) -> None:
    for handle in handles:
        with pytest.raises(errors.HoldfastError) as told:
            handle.wait(60)
        # Rank 0 may be faster to give it up than the others to see why.
        assert told.value.kind == "run-busy" or handle is not handles[0]
    assert "took over the run" in str(handles[0].error)
    for ckpt in both.ckpts:
        ckpt._ledger._open.clear()


@pytest.mark.parametrize("has_saved", [False, True])
def test_the_older_training_is_refused(tmp_path: Path, has_saved: bool) -> None:
    path = tmp_path / "c"
    with trainings(path) as older:
        for handle in [older.save(rank, 1) for rank in range(2)]:
            handle.wait()
        forget_lock(path)
        with trainings(path) as newer:
            if has_saved:
                for handle in [newer.save(rank, 2) for rank in range(2)]:
                    handle.wait(60)
            wait_refused(older, [older.save(rank, 3) for rank in range(2)])
            for handle in [newer.save(rank, 4) for rank in range(2)]:
                handle.wait(60)
        assert newer.steps() == ([1, 2, 4] if has_saved else [1, 4])
        assert all(newer.is_right(step) for step in newer.steps())
    assert holdfast.Store(path).verify().ok


def test_a_save_that_was_stopped_in_the_middle_is_refused_when_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with trainings(path) as older:
        for handle in [older.save(rank, 1) for rank in range(2)]:
            handle.wait()
        with stopped(older.pid(0)):
            handles = [older.save(rank, 2) for rank in range(2)]
            until(lambda: handles[1].is_written)
            forget_lock(path)
            with trainings(path) as newer:
                # The step is the same, and yet no part of the older one is taken for its own.
                later = [newer.save(rank, 2) for rank in range(2)]
                newer.states[0]["w"][:] = newer.states[1]["w"][:] = 0
                for handle in later:
                    handle.wait(60)
        wait_refused(older, handles)
        assert older.steps() == [1, 2]
        assert older.is_right(2)
        info = holdfast.Store(path).info("r@latest")
        assert info.id == later[0].id
    assert holdfast.Store(path).verify().ok


def test_one_that_trains_alone_is_refused_too(tmp_path: Path) -> None:
    path, state = tmp_path / "c", {"w": np.zeros(10)}
    with holdfast.Checkpointer(path, state, run="r", ranks=None) as older:
        older.save(1).wait()
        forget_lock(path)
        with holdfast.Checkpointer(path, state, run="r", ranks=None) as newer:
            newer.restore()
            with pytest.raises(errors.RunBusy, match="took over the run"):
                older.save(2).wait()
            newer.save(3).wait()
    assert [info.step for info in holdfast.Store(path).log("r")] == [1, 3]


@pytest.mark.skipif(not IS_FULL, reason="the torchrun of four lives: make ranks")
def test_the_training_of_a_launcher_goes_on_after_restarts_with_other_ranks(tmp_path: Path) -> None:
    def torchrun(n: int, steps: int, *options: str) -> str:
        arguments = ["--standalone", f"--nproc-per-node={n}", "--max-restarts=2"]
        script = [str(HERE / "trainer.py"), str(tmp_path / "c"), str(steps), *options]
        # Else gloo, begun anew, finds the addresses of the processes before, and waits for them.
        variables = {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        variables["PYTHONPATH"] = os.pathsep.join([str(SOURCES), str(HERE)])
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", *arguments, *script],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # Killed once, begun anew by the launcher, each time with another incarnation.
    first = torchrun(2, 10, "kill=1@6", "once=1", "slow=0.1")
    assert "restored None" in first and "restored 4" in first
    second = torchrun(3, 14)
    assert second.count("restored 8") == 3
    assert len({line for line in second.splitlines() if line.startswith("ended")}) == 1
    infos = holdfast.Store(tmp_path / "c").log("r")
    assert [info.step for info in infos] == [8, 10, 12]
    assert len({info.incarnation for info in infos}) == 2
    assert holdfast.Store(tmp_path / "c").verify().ok


def test_a_stopped_training_on_this_machine_keeps_the_run(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with trainings(path) as older:
        for handle in [older.save(rank, 1) for rank in range(2)]:
            handle.wait()
        child = [sys.executable, "-c", _SECOND, str(path)]
        with stopped(older.pid(0)):
            second = subprocess.run(child, capture_output=True, text=True, timeout=120)
        assert "run-busy" in second.stdout, second.stdout + second.stderr
        for handle in [older.save(rank, 2) for rank in range(2)]:
            handle.wait(60)
        assert older.steps() == [1, 2]


_SECOND = """
import sys, holdfast
try:
    with holdfast.Checkpointer(sys.argv[1], {"w": 1}, run="r", ranks=None) as ckpt:
        ckpt.restore()
except holdfast.errors.HoldfastError as error:
    print(error.kind)
"""
