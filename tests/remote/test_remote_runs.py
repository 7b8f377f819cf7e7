"""Runs in a bucket: saved, killed, resumed, pruned, verified, copied; and what goes wrong there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import holdfast
import s3_server
from holdfast import Checkpointer, every, keep
from holdfast.errors import RunBusy, StoreUnavailable
from holdfast.store.remote import RemoteStore, lease
from holdfast.store.remote.lease import Lease

SCRIPT = """
import os, sys, time
import numpy as np
import holdfast
from holdfast import Checkpointer, every, keep

rng = np.random.default_rng(3)
state = {"w": np.zeros(700_000), "rng": rng}
with Checkpointer(sys.argv[1], state, run="r", save=every(steps=2), keep=keep.last(3)) as ckpt:
    told = ckpt.restore()
    print("from", told.step if told else None, flush=True)
    for step in range(ckpt.next_step, 12):
        state["w"] += rng.standard_normal(700_000)
        ckpt.step(step, metrics={"loss": 1 / (step + 1)})
        print("step", step, flush=True)
        if step == int(sys.argv[2]):
            ckpt.wait()
            print("wait", flush=True)
            time.sleep(60)
    ckpt.save(11, tag="final").wait()
"""


@pytest.fixture
def environment(settings: dict[str, str]) -> dict[str, str]:
    """Settings where the tools of S3 look for them."""
    return {**os.environ, **s3_server.environment(settings)}


def kill_trainer(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)


def kill_all(process: subprocess.Popen[str]) -> None:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    for pid in (*map(int, children), process.pid):
        os.kill(pid, signal.SIGKILL)


def train(
    url: str,
    stop_at: int,
    environment: dict[str, str],
    kill: Callable[[subprocess.Popen[str]], None] = kill_trainer,
) -> list[str]:
    """Run the script, kill it where it waits, and return what it said."""
    told: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, url, str(stop_at)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(line.strip())
            if line.startswith("wait"):
                kill(process)
    return told


def test_a_run_is_killed_and_resumed(
    bucket: str, environment: dict[str, str], settings: dict[str, str]
) -> None:
    url = f"s3://{bucket}/runs-of/me"
    assert train(url, 7, environment)[-1] == "wait"
    again = train(url, -1, environment)
    assert again[0] == "from 6" and again[-1] == "step 11"
    train(f"s3://{bucket}/undisturbed", -1, environment)
    store = holdfast.Store(RemoteStore(url, settings))
    other = holdfast.Store(RemoteStore(f"s3://{bucket}/undisturbed", settings))
    assert [info.step for info in store.log("r")] == [info.step for info in other.log("r")]
    ours, theirs = (holdfast.load(s, "r@final")["w"] for s in (store, other))
    assert np.array_equal(ours, theirs) and store.verify().ok


def test_a_run_whose_processes_are_all_killed_goes_on_at_once(
    bucket: str, environment: dict[str, str], settings: dict[str, str]
) -> None:
    """Nobody gives the lease back: it is taken from a process that is gone."""
    url = f"s3://{bucket}/runs-of/me"
    assert train(url, 3, environment, kill_all)[-1] == "wait"
    store = RemoteStore(url, settings)
    assert store.exists("runs/r/writer.lock")
    again = train(url, -1, environment)
    assert again[0] == "from 2" and again[-1] == "step 11"
    assert holdfast.Store(store).verify().ok


def test_a_lease_from_elsewhere_is_taken_over_when_it_has_run_out(
    store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_host", lambda: "another machine")
    first = store.open_lock("runs/r/lock")
    assert first.acquire()
    monkeypatch.undo()
    second = store.open_lock("runs/r/lock")
    assert not second.acquire()
    monkeypatch.setattr(lease, "LEASE_S", -1.0)
    assert second.acquire()
    third = store.open_lock("runs/r/lock")
    monkeypatch.undo()
    assert not third.acquire()
    second.close()
    assert third.acquire()
    third.close()
    first.close()


def test_a_lease_that_was_lost_is_renewed_no_more(
    store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 1.0)
    first, second = store.open_lock("runs/r/lock"), store.open_lock("runs/r/lock")
    assert first.acquire() and first.acquire()
    with monkeypatch.context() as patched:
        patched.setattr(lease, "LEASE_S", -1.0)
        assert second.acquire()
    deadline = time.monotonic() + 20
    while len(names := [t.name for t in threading.enumerate() if t.name == "holdfast-lease"]) > 1:
        assert time.monotonic() < deadline, names
        time.sleep(0.02)
    assert not first.acquire()
    second.close()
    assert first.acquire()
    first.close()


def test_what_is_kept_is_all_there_is(store: RemoteStore) -> None:
    state = {"w": np.zeros(300_000)}
    with Checkpointer(store, state, run="r", save=every(steps=1), keep=keep.last(2)) as ckpt:
        for step in range(6):
            state["w"] += 1
            ckpt.step(step)
            ckpt.wait()
    found = holdfast.Store(store)
    assert [info.step for info in found.log("r")] == [4, 5]
    held = sum(info.size for info in store.list("runs/r/packs/"))
    # Two, and one that the next save would sweep.
    assert held < 4 * 300_000 * 8
    found.tag("r@4", "good")
    found.prune("r", keep.last(1))
    assert {info.step for info in found.log("r")} == {5, 4}
    assert float(holdfast.load(store, "r@good")["w"][0]) == 5


def test_checkpoints_are_copied_there_and_back(store: RemoteStore, tmp_path: Path) -> None:
    here = holdfast.Store(tmp_path / "here")
    holdfast.save(here, {"w": np.arange(500_000), "n": 3}, run="r", step=1, metrics={"loss": 0.5})
    here.copy("r@1", holdfast.Store(store))
    back = holdfast.Store(tmp_path / "back")
    holdfast.Store(store).copy("r@1", back)
    tree = holdfast.load(back, "r@latest")
    assert np.array_equal(tree["w"], np.arange(500_000)) and tree["n"] == 3
    assert back.info("r@1").metrics["loss"] == 0.5


def test_an_encrypted_store_tells_nothing(store: RemoteStore) -> None:
    key = holdfast.keys.passphrase("a long passphrase")
    sealed = holdfast.Store(store, keys=key)
    holdfast.save(sealed, {"secret-name": np.full(1000, 7.0)}, run="secret-run", step=1)
    assert float(holdfast.load(sealed, "secret-run@1")["secret-name"][0]) == 7.0
    for info in store.list(""):
        assert b"secret" not in info.key.encode() + store.get(info.key)


def test_a_second_writer_is_told(store: RemoteStore) -> None:
    state = {"w": np.zeros(10)}
    with Checkpointer(store, state, run="r") as ckpt:
        ckpt.save(0).wait()
        with pytest.raises(RunBusy), Checkpointer(store, state, run="r") as second:
            second.save(1).wait()


def test_writers_without_a_lock_do_not_destroy_each_others_work(
    store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is advisory: here writers go on as if nobody saw another's."""
    monkeypatch.setattr(Lease, "acquire", lambda lease: True)
    errors: list[Exception] = []

    def write(value: int) -> None:
        try:
            for step in range(5):
                holdfast.save(store, {"w": np.full(1000, value)}, run=f"r{value % 2}", step=step)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(error, holdfast.errors.HoldfastError) for error in errors), errors
    found = holdfast.Store(store)
    assert found.verify().ok
    assert sum(len(found.log(run)) for run in found.runs()) >= 10
    for run in found.runs():
        for info in found.log(run):
            assert len(set(holdfast.load(store, f"{run}@{info.step}")["w"])) == 1


def test_the_command_line_takes_a_url(bucket: str, environment: dict[str, str]) -> None:
    url = f"s3://{bucket}/by-hand"
    train(url, -1, environment)

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "holdfast", "--store", url, *words],
            env=environment,
            capture_output=True,
            text=True,
        )

    told = command("log", "r", "--json")
    assert told.returncode == 0 and "final" in told.stdout, told.stderr
    assert json.loads(told.stdout)
    assert command("verify").returncode == 0
    assert command("show", "r@nothing").returncode != 0


# --- trouble ---


def test_a_bucket_that_is_not_there(settings: dict[str, str]) -> None:
    store = RemoteStore("s3://no-such-bucket/x", settings, retry_s=2)
    with pytest.raises(StoreUnavailable, match="There is no bucket"):
        holdfast.save(store, {"w": np.zeros(3)}, run="r", step=1)


def test_a_server_that_is_not_there() -> None:
    settings = {"endpoint": "http://127.0.0.1:9", "access_key_id": "x", "secret_access_key": "y"}
    store = RemoteStore("s3://bucket/x", settings, retry_s=1)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        holdfast.save(store, {"w": np.zeros(3)}, run="r", step=1)
    # Tried again for a while, and not for ever.
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("http://127.0.0.1:9", "nobody listens there"),
        ("http://no-such-host.invalid:9000", "no host of that name"),
        ("127.0.0.1:9000", "is no URL"),
    ],
)
@pytest.mark.parametrize("command", [["log", "r"], ["tag", "r@1", "t"]])
def test_a_person_is_told_at_once_of_a_server_that_is_not_there(
    server: str, words: str, command: list[str], environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", "--store", "s3://bucket/x", *command],
        env=environment | {"AWS_ENDPOINT_URL": server},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (2, 3) and words in done.stdout + done.stderr, done


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/path", "no place for a store"),
        ("s3://", "BUCKET/PREFIX"),
        ("s3://bucket/a/../b", "plain names"),
        ("s3://key:secret@bucket/x", "Credentials do not belong"),
    ],
)
def test_what_is_no_place_for_a_store(url: str, words: str) -> None:
    with pytest.raises(holdfast.errors.UsageError, match=words) as caught:
        holdfast.Store(url).runs()
    assert "secret" not in str(caught.value)


def test_credentials_are_not_shown(store: RemoteStore) -> None:
    assert "something" not in repr(store) + repr(holdfast.Store(store)) + repr(store.recipe())
