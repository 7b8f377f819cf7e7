"""Hosts that are lost, disks and memory included: training goes on from the last checkpoint."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

import holdfast
from distributed import light
from distributed.hosts import lose, processes_of, wait_for
from distributed.launching import Job, launch, run
from distributed.test_rank_faults import said

STEPS = 12
# Hundreds of losses at random moments, and what takes long to start: make ranks.
IS_FULL = os.environ.get("HOLDFAST_RANKS") == "full"
LOSSES = int(os.environ.get("HOLDFAST_LOSSES", "200"))
in_full = pytest.mark.skipif(not IS_FULL, reason="make ranks")


def ends(n_ranks: int, steps: int = STEPS) -> list[str]:
    """Return how the light training ends on each rank where nothing disturbs it."""
    return [light.ended(light.begun(rank), steps) for rank in range(n_ranks)]


def store_of(folder: Path, host: str) -> holdfast.Store:
    return holdfast.Store(folder / host)


def newest(folder: Path, hosts: Iterable[str]) -> int:
    """Return the newest step that any of some hosts has a commit of, -1 for none."""
    logs = [store_of(folder, host).log("r") for host in hosts if (folder / host).exists()]
    return max((infos[-1].step for infos in logs if infos), default=-1)


def told(job: Job, word: str) -> list[str]:
    return [found[0] for rank in range(len(job.logs)) if (found := said(job, rank, word))]


def test_an_undisturbed_training_ends_as_it_does_alone(tmp_path: Path) -> None:
    job = run("light.py", 3, tmp_path / "logs", tmp_path, STEPS, "a,b,b", "copies=1")
    assert told(job, "ended") == ends(3)
    for host in "ab":  # Two hosts: each has all of it.
        store = store_of(tmp_path, host)
        assert [info.step for info in store.log("r")] == [8, 10] and store.verify().ok
        assert list((tmp_path / host / "runs/r/pins").glob("*")) == []
    # By it the ranks of a host know whether the run is still theirs.
    notes = [json.loads((tmp_path / host / "runs/r/writer.lock").read_text()) for host in "ab"]
    assert notes[0]["word"] == notes[1]["word"]


@pytest.mark.parametrize("lost", ["a", pytest.param("b", marks=in_full)])
def test_a_lost_host_loses_no_checkpoint(tmp_path: Path, lost: str) -> None:
    job = launch("light.py", 3, tmp_path / "logs", tmp_path, 500, "a,b,c", "slow=0.4")
    wait_for(job, 0, "did 5")
    lose(job, ["abc".index(lost)], tmp_path / lost)
    job.kill()
    assert newest(tmp_path, set("abc") - {lost}) == 4
    job = run("light.py", 3, tmp_path / "logs", tmp_path, STEPS, "a,b,c")
    assert told(job, "restored") == ["4"] * 3
    assert told(job, "ended") == ends(3)
    # All copies are there again, those of the checkpoint that was restored too.
    for host in "abc":
        packs = {path.name for path in (tmp_path / host / "runs/r/packs").iterdir()}
        assert {name[-6:] for name in packs} >= {"-00000", "100000", "200000"} - MISSING[host]


# With copies at every second of three hosts, each has what two of the ranks have saved.
MISSING = {"a": {"100000"}, "b": {"200000"}, "c": {"-00000"}}


@in_full
def test_hosts_that_are_lost_at_any_moment_lose_no_checkpoint(tmp_path: Path) -> None:
    source = random.Random(os.environ.get("HOLDFAST_SEED", "peers"))
    done = -1
    for _ in range(LOSSES):
        victim = source.choice("abc")
        job = launch("light.py", 3, tmp_path / "logs", tmp_path, 10_000, "a,b,c", "slow=0.01")
        wait_for(job, 2, "restored")
        [restored] = set(told(job, "restored"))
        assert int(restored.replace("None", "-1")) >= done
        time.sleep(source.random())
        lose(job, ["abc".index(victim)], tmp_path / victim)
        job.kill()
        # What is under way may still come.
        done = newest(tmp_path, set("abc") - {victim})
    steps = done + 50
    job = run("light.py", 3, tmp_path / "logs", tmp_path, steps, "a,b,c")
    assert int(told(job, "restored")[0]) >= done
    assert told(job, "ended") == ends(3, steps)


@in_full
def test_more_losses_than_copies_are_told_by_rank(tmp_path: Path) -> None:
    run("light.py", 3, tmp_path / "logs", tmp_path, 6, "a,b,c")
    job = launch("light.py", 3, tmp_path / "logs", tmp_path, 6, "a,d,e")
    assert job.wait() == [7, 7, 7]
    for rank in range(3):
        assert "refused no-good-checkpoint" in job.said(rank), job.said(rank)
        assert "what rank(s) 1 of 3 saved" in job.said(rank)
    # Once one of them is back, with its disk, nothing is lost.
    job = run("light.py", 3, tmp_path / "logs", tmp_path, 12, "a,d,b")
    assert told(job, "restored") == ["4"] * 3


@in_full
def test_another_number_of_ranks_and_hosts_goes_on(tmp_path: Path) -> None:
    run("light.py", 3, tmp_path / "logs", tmp_path, 6, "a,b,c")
    job = run("light.py", 2, tmp_path / "logs", tmp_path, STEPS, "a,c")
    assert told(job, "restored") == ["4"] * 2
    assert told(job, "ended") == ends(2)


@in_full
def test_a_keeper_that_dies_is_followed_by_another(tmp_path: Path) -> None:
    job = launch("light.py", 2, tmp_path / "logs", tmp_path, 40, "a,b", "slow=0.1")
    wait_for(job, 0, "did 3")
    for pid in processes_of(process.pid for process in job.processes):
        if b"peers.keeper" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    assert job.wait() == [0, 0], job.said(0) + job.said(1)
    assert told(job, "ended") == ends(2, 40)
    assert all("another one is started" in job.said(rank) for rank in range(2))


@in_full
def test_ranks_that_torch_has_laid_out_go_on_too(tmp_path: Path) -> None:
    options = ("kind=fsdp", "hosts=a,b")
    steady = run("trainer.py", 2, tmp_path / "logs", tmp_path / "one", STEPS, "kind=fsdp")
    job = launch("trainer.py", 2, tmp_path / "logs", tmp_path, 500, *options, "slow=0.4")
    wait_for(job, 0, "did 5")
    lose(job, [0], tmp_path / "a")
    job.kill()
    assert newest(tmp_path, "b") == 4
    job = run("trainer.py", 2, tmp_path / "logs", tmp_path, STEPS, *options)
    assert told(job, "restored") == ["4"] * 2
    assert told(job, "ended") == told(steady, "ended")
