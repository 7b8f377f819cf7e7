"""Hosts that are lost with their disks: training goes on from the last checkpoint, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
from distributed.hosts import lose, wait_for
from distributed.launching import launch, run
from distributed.test_rank_faults import said

STEPS = 12


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest that an undisturbed training ends with."""
    folder = tmp_path_factory.mktemp("steady")
    return said(run("trainer.py", 2, folder, folder / "ckpts", STEPS, "kind=fsdp"), 0, "ended")[0]


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_host_loses_no_checkpoint(tmp_path: Path, steady: str, lost: int) -> None:
    options = ("kind=fsdp", "hosts=a,b")
    job = launch("trainer.py", 2, tmp_path / "logs", tmp_path, 500, *options, "slow=0.05")
    wait_for(job, 0, "did 6")
    lose(job, [lost], tmp_path / "ab"[lost])
    job.kill()
    left = [info.step for info in holdfast.Store(tmp_path / "ab"[1 - lost]).log("r")]
    job = run("trainer.py", 2, tmp_path / "logs", tmp_path, STEPS, *options)
    restored = {said(job, rank, "restored")[0] for rank in range(2)}
    assert restored == {str(left[-1])} and left[-1] >= 3
    assert {said(job, rank, "ended")[0] for rank in range(2)} == {steady}
