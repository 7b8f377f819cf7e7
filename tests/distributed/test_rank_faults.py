"""Ranks that die, differ, lag or come twice: a checkpoint is whole or does not exist."""

from __future__ import annotations

import random
import re
import signal
import time
from pathlib import Path

import pytest

import holdfast
from distributed.launching import IS_FULL, Job, launch, run
from holdfast.records import journal
from holdfast.records.opening import open_store

KILLED = -signal.SIGKILL


def said(job: Job, rank: int, word: str) -> list[str]:
    return re.findall(rf"^{word} (\S+)", job.said(rank), re.MULTILINE)


def steps_of(store: Path) -> list[int]:
    return [info.step for info in holdfast.Store(store).log("r")]


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest that an undisturbed training ends with."""
    folder = tmp_path_factory.mktemp("steady")
    return said(run("trainer.py", 2, folder, folder / "ckpts", 12), 0, "ended")[0]


@pytest.mark.parametrize("victim", [0, 1, 2] if IS_FULL else [0, 2])
def test_whoever_dies_the_training_goes_on_from_the_last_commit(
    tmp_path: Path, steady: str, victim: int
) -> None:
    source = random.Random(victim)
    done = 0
    for n in (3, 2):
        at = done + source.randrange(1, 4)
        who = min(victim, n - 1)
        job = launch("trainer.py", n, tmp_path / "logs", tmp_path / "c", 12, f"kill={who}@{at}")
        statuses = [job.processes[who].wait(120)]
        assert statuses == [KILLED]
        job.kill()  # As a launcher does with those that are left.
        wait_until_free(tmp_path / "c")
        assert holdfast.Store(tmp_path / "c").verify().ok
        there = steps_of(tmp_path / "c")
        assert all(step < at for step in there) and (not there or there[-1] >= at - 3)
        done = there[-1] + 1 if there else 0
    job = run("trainer.py", 2, tmp_path / "logs", tmp_path / "c", 12)
    assert said(job, 0, "restored") == [str(done - 1)] or done == 0
    assert {said(job, rank, "ended")[0] for rank in range(2)} == {steady}


def wait_until_free(store: Path) -> None:
    """Wait until the persister of a killed rank 0 has finished and left."""
    until_s = time.monotonic() + 90
    while time.monotonic() < until_s:
        try:
            with holdfast.Checkpointer(store, {"w": 1}, run="r", ranks=None, rng=False) as ckpt:
                ckpt._saver.client.wait_ready()
            return
        except holdfast.errors.RunBusy:
            time.sleep(0.2)
    raise AssertionError("the run was not given back")


def test_ranks_that_differ_are_told_by_leaf_and_rank(tmp_path: Path) -> None:
    job = launch("trainer.py", 2, tmp_path / "logs", tmp_path / "c", 6, "odd=1")
    assert 7 in job.wait()
    told = job.said(0) + job.said(1)
    assert "'optimizer/param_groups/0/lr'" in told and "rank 1" in told and "0.5" in told
    assert steps_of(tmp_path / "c") == []
    assert list((tmp_path / "c" / "runs" / "r" / "commits").glob("*")) == []


def test_one_bit_of_a_replica_is_noticed_and_not_committed(tmp_path: Path) -> None:
    options = ("wrap=ddp", "bit=1@4", "replicas=checked")
    job = launch("trainer.py", 2, tmp_path / "logs", tmp_path / "c", 6, *options)
    assert 7 in job.wait()
    told = job.said(0) + job.said(1)
    assert "'model/up.weight', rank 1: a replica that differs from that of rank 0" in told
    # The step before it was good.
    assert steps_of(tmp_path / "c") == [2]
    assert holdfast.Store(tmp_path / "c").verify().ok


def test_a_rank_that_does_not_come_is_named_and_nothing_is_torn(tmp_path: Path) -> None:
    options = ("late=1@4", "patience=3")
    job = launch("trainer.py", 2, tmp_path / "logs", tmp_path / "c", 8, *options)
    until_s = time.monotonic() + 120
    while "refused" not in job.said(0) and time.monotonic() < until_s:
        time.sleep(0.1)
    assert "save-failed" in job.said(0) and "rank(s) 1 of 2" in job.said(0), job.said(0)
    job.kill()
    assert steps_of(tmp_path / "c")[-1] == 2
    assert holdfast.Store(tmp_path / "c").verify().ok


def test_damage_for_one_rank_is_stepped_over_by_all(tmp_path: Path) -> None:
    run("trainer.py", 2, tmp_path / "logs", tmp_path / "c", 6, "kind=fsdp")
    info = holdfast.Store(tmp_path / "c").info("r@latest")
    [pack] = (tmp_path / "c" / "runs" / "r" / "packs").glob(f"{info.id}-100000")
    data = bytearray(pack.read_bytes())
    data[5] ^= 1
    pack.write_bytes(data)
    job = run("trainer.py", 2, tmp_path / "logs", tmp_path / "c", 6, "kind=fsdp")
    assert {said(job, rank, "restored")[0] for rank in range(2)} == {"2"}
    # Rank 0 records it, once, and what each has read.
    events = journal.events(open_store(tmp_path / "c", create=False), "r")
    [restored] = [event for event in events if event["event"] == "restored"]
    assert len(restored["bytes_of_ranks"]) == 2
    assert all(read >= wanted > 0 for read, wanted in restored["bytes_of_ranks"])
    ends = {said(job, rank, "ended")[0] for rank in range(2)}
    again = run("trainer.py", 2, tmp_path / "logs", tmp_path / "other", 6, "kind=fsdp")
    assert ends == {said(again, rank, "ended")[0] for rank in range(2)}


def test_a_signal_to_one_rank_saves_the_same_step_on_all_and_they_leave(tmp_path: Path) -> None:
    job = launch("trainer.py", 2, tmp_path / "logs", tmp_path / "c", 5000, "term=1@4", "slow=0.05")
    assert job.wait() == [128 + signal.SIGTERM] * 2, job.said(0) + job.said(1)
    [info] = holdfast.Store(tmp_path / "c").log("r")
    assert info.reason == "signal SIGTERM"
    # Each has left at the end of the step that was saved.
    for rank in range(2):
        assert said(job, rank, "did")[-1] == str(info.step - 1)


def test_a_second_training_of_the_run_is_refused_on_every_rank(tmp_path: Path) -> None:
    first = launch("trainer.py", 2, tmp_path / "logs", tmp_path / "c", 500, "slow=0.1")
    try:
        until_s = time.monotonic() + 60
        while "did 3" not in first.said(0) and time.monotonic() < until_s:
            time.sleep(0.1)
        second = launch("trainer.py", 2, tmp_path / "more", tmp_path / "c", 6)
        assert second.wait() == [7, 7]
        assert all("refused run-busy" in second.said(rank) for rank in range(2))
        assert first.processes[0].poll() is None
    finally:
        first.kill()


def test_what_is_no_longer_kept_goes_with_all_its_parts(tmp_path: Path) -> None:
    run("trainer.py", 2, tmp_path / "logs", tmp_path / "c", 14)
    infos = holdfast.Store(tmp_path / "c").log("r")
    assert len(infos) == 3
    kept = {info.id for info in infos}
    left = {path.name[:32] for path in (tmp_path / "c" / "runs" / "r" / "parts").iterdir()}
    assert left == kept
    assert list((tmp_path / "c" / "runs" / "r" / "pins").glob("*")) == []
