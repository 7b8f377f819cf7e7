"""The small parts of the engine: channel, heartbeat, journal, handle, ledger, job, lock."""

from __future__ import annotations

import json
import math
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from holdfast.engine.channel import Channel, Closed
from holdfast.engine.handle import SaveHandle, error_of_kind
from holdfast.engine.heartbeat import Heartbeat
from holdfast.engine.job import SaveJob, from_message, new_id, to_message
from holdfast.engine.ledger import Ledger
from holdfast.engine.writer_lock import WriterLock
from holdfast.errors import HoldfastError, NoSpace, PersisterDied, RunBusy, SaveFailed
from holdfast.format.names import RunKeys
from holdfast.history.info import CheckpointInfo
from holdfast.plan.layout import Layout
from holdfast.records import journal
from holdfast.store.local import LocalStore

# --- channel ---


@pytest.fixture
def ends() -> Any:
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    channels = Channel(a), Channel(b)
    yield channels
    for channel in channels:
        channel.close()


def test_messages_arrive_in_order_with_payloads(ends: tuple[Channel, Channel]) -> None:
    here, there = ends
    payload = random.Random(0).randbytes(5 << 20)

    def send() -> None:
        here.send({"n": 1, "text": "ü \udc80"})
        here.send({"n": 2}, payload)
        here.send({"n": 3}, b"")

    threading.Thread(target=send).start()
    assert there.receive() == ({"n": 1, "text": "ü \udc80"}, b"", None)
    message, found, _ = there.receive()
    assert (message, found) == ({"n": 2}, payload)
    assert there.receive()[0] == {"n": 3}
    there.send({"back": True})
    assert here.receive()[0] == {"back": True}


def test_files_travel_with_their_message(ends: tuple[Channel, Channel], tmp_path: Path) -> None:
    here, there = ends
    for i in range(3):
        (tmp_path / str(i)).write_text(f"file {i}")
        fd = os.open(tmp_path / str(i), os.O_RDONLY)
        here.send({"n": i, "has_fd": True}, b"x" * i, fd)
        os.close(fd)
        here.send({"n": "plain"})
    for i in range(3):
        message, payload, fd = there.receive()
        assert (message["n"], len(payload)) == (i, i)
        assert fd is not None
        assert os.read(fd, 100) == f"file {i}".encode()
        os.close(fd)
        assert there.receive() == ({"n": "plain"}, b"", None)


def test_messages_of_several_threads_do_not_mix(ends: tuple[Channel, Channel]) -> None:
    here, there = ends

    def send(i: int) -> None:
        for _ in range(5):
            here.send({"i": i}, bytes([i]) * 5000)

    threads = [threading.Thread(target=send, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(40):
        message, payload, _ = there.receive()
        assert payload == bytes([message["i"]]) * 5000


def test_the_end_is_told(ends: tuple[Channel, Channel]) -> None:
    here, there = ends
    here.send({"last": 1})
    here.close()
    assert there.receive()[0] == {"last": 1}
    with pytest.raises(Closed):
        there.receive()
    with pytest.raises(Closed):
        for _ in range(100):
            there.send({"n": 1}, b"x" * 100_000)


def test_a_message_cut_short_is_the_end() -> None:
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    a.sendall(struct.pack(">IQ", 10, 5) + b'{"a')
    a.close()
    channel = Channel(b)
    with pytest.raises(Closed):
        channel.receive()
    channel.close()


# --- heartbeat and journal ---


def test_a_long_journal_is_put_away_and_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_BYTES", 3000)
    store = LocalStore(tmp_path / "s")
    for step in range(200):
        journal.record(store, "r", "saved", step=step)
        journal.shorten(store, "r")
    pieces = list(store.list("runs/r/events/"))
    assert len(pieces) > 2 and sum(piece.size for piece in pieces) < 3000
    assert len(store.get("runs/r/events.jsonl")) < 3000
    assert [event["step"] for event in journal.events(store, "r")] == list(range(200))
    # A crash after a piece was put away, before the journal was shortened.
    whole = zlib.decompress(store.get(pieces[-1].key))
    rest = store.get("runs/r/events.jsonl")
    store.put("runs/r/events.jsonl", whole + rest)
    assert [event["step"] for event in journal.events(store, "r")] == list(range(200))
    journal.shorten(store, "r")
    assert store.get("runs/r/events.jsonl") == rest
    assert len(list(store.list("runs/r/events/"))) == len(pieces)
    # A piece that is damaged takes its own events along, no others.
    store.put(pieces[0].key, b"spoilt")
    assert [event["step"] for event in journal.events(store, "r")][-5:] == list(range(195, 200))


def test_the_step_is_seen_from_the_other_side() -> None:
    trainer = Heartbeat.create()
    persister = Heartbeat.attach(os.dup(trainer.fd))
    assert persister.step == -1
    trainer.beat(2**62)
    assert persister.step == 2**62
    trainer.close()
    assert persister.step == 2**62
    persister.close()


def test_events_are_read_back_and_torn_lines_passed_over(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert journal.events(store, "r") == []
    journal.record(store, "r", "saved", step=5, reason="ü")
    store.append(RunKeys("r").events, b'{"event": "torn", "st')
    journal.record(store, "r", "pruned", step=1)
    store.append(RunKeys("r").events, b"5\n[1]\n\xff\xfe\n")
    found = journal.events(store, "r")
    assert [(e["event"], e["step"]) for e in found] == [("saved", 5), ("pruned", 1)]
    assert found[0]["reason"] == "ü"
    assert abs(found[0]["time_ns"] - time.time_ns()) < 60e9


def test_trouble_with_the_journal_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    journal.record(LocalStore(tmp_path), "r", "saved")


# --- handle and ledger ---


def info(step: int) -> CheckpointInfo:
    from datetime import UTC, datetime

    return CheckpointInfo("r", step, new_id(), 1, datetime.now(UTC), state_bytes=5, stored_bytes=3)


def test_a_handle_waits_for_its_save() -> None:
    handle = SaveHandle(5, "id")
    assert not handle.done and handle.error is None
    with pytest.raises(TimeoutError, match="it goes on"):
        handle.wait(timeout_s=0.01)
    found = info(5)
    threading.Timer(0.03, lambda: handle.succeed(found, 0.5)).start()
    assert handle.wait() is found
    assert handle.done and handle.info is found and handle.durable_s == 0.5


def test_a_handle_tells_its_error_every_time_but_it_is_news_once() -> None:
    handle = SaveHandle(5, "id")
    error = NoSpace("full")
    handle.fail(error)
    assert handle.done and handle.error is error
    assert handle.take_untold_error() is error
    assert handle.take_untold_error() is None
    with pytest.raises(NoSpace):
        handle.wait()
    with pytest.raises(NoSpace):
        _ = handle.info


def test_an_error_that_was_waited_for_is_no_news() -> None:
    handle = SaveHandle(5, "id")
    handle.fail(NoSpace("full"))
    with pytest.raises(NoSpace):
        handle.wait()
    assert handle.take_untold_error() is None


def test_errors_keep_their_class_across_processes() -> None:
    def classes(cls: type[HoldfastError]) -> list[type[HoldfastError]]:
        return [cls, *(c for sub in cls.__subclasses__() for c in classes(sub))]

    for cls in classes(HoldfastError):
        if cls.__module__ == "holdfast.errors":
            found = error_of_kind(cls.kind, "text", {"step": 3})
            assert type(found) is cls and str(found) == "text"
    assert type(error_of_kind("unheard-of", "text", {})) is SaveFailed


def test_a_ledger_tells_each_error_once() -> None:
    ledger = Ledger("raise")
    good, bad, worse = (SaveHandle(i, f"id{i}") for i in range(3))
    for handle in (good, bad, worse):
        ledger.add(handle)
    ledger.tell_errors()
    good.succeed(info(0), 0.5)
    bad.fail(NoSpace("full"))
    worse.fail(PersisterDied("gone"))
    with pytest.raises(NoSpace):
        ledger.tell_errors()
    with pytest.raises(PersisterDied):
        ledger.tell_errors()
    ledger.tell_errors()
    assert [t.step for t in ledger.times()] == [0]


def test_a_ledger_may_only_warn(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger("warn")
    handle = SaveHandle(7, "id")
    ledger.add(handle)
    handle.fail(NoSpace("full"))
    ledger.tell_errors()
    ledger.tell_errors()
    assert [r.getMessage() for r in caplog.records] == ["The save of step 7 failed: full"]


def test_what_ended_before_a_restore_is_no_newer_than_what_was_restored() -> None:
    ledger = Ledger("raise")
    handle = SaveHandle(5, "before")
    ledger.add(handle)
    handle.succeed(info(5), 0)
    ledger.restart("restored")
    assert ledger.newest() == "restored"
    assert [t.step for t in ledger.times()] == [5]


def test_a_ledger_knows_the_newest() -> None:
    ledger = Ledger("raise")
    assert ledger.newest() is None
    ledger.restart("restored")
    assert ledger.newest() == "restored"
    first, second = SaveHandle(1, "first"), SaveHandle(2, "second")
    ledger.add(first)
    assert ledger.newest() == "first"
    first.succeed(info(1), 0)
    assert ledger.newest() == "first"
    ledger.add(second)
    second.fail(NoSpace("full"))
    assert ledger.newest() == "first"


# --- jobs ---


def test_a_job_travels_as_a_message() -> None:
    job = SaveJob(
        id=new_id(),
        step=2**62,
        layout=Layout([(0, 0)], [5, 7], [0, 4096], 8192),
        plan=b"\x00plan",
        state_bytes=12,
        n_leaves=3,
        metrics={"loss": 0.1 + 0.2, "inf": math.inf, "nan": math.nan},
        reason="ü",
        tag="v1",
        parent="p",
        environment={"command": ["a", "\udc80"], "git": None},
        incarnation="i",
        arena="0-1",
    )
    fields, payload = to_message(job)
    found = from_message(json.loads(json.dumps(fields)), payload)
    assert math.isnan(found.metrics["nan"])
    for name in SaveJob.__dataclass_fields__:
        if name not in ("layout", "metrics"):
            assert getattr(found, name) == getattr(job, name), name
    assert {k: v for k, v in found.metrics.items() if k != "nan"} == {
        "loss": 0.1 + 0.2,
        "inf": math.inf,
    }
    assert list(found.layout.lengths) == [5, 7] and found.layout.total_bytes == 8192


def test_ids_are_hex_and_new() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(i) == 32 and int(i, 16) >= 0 for i in ids)


# --- the lock of a run ---


def test_a_run_that_is_being_written_is_refused_at_once(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    first, second = WriterLock(store, "r"), WriterLock(store, "r")
    first.acquire(os.getpid(), patience_s=0)
    began = time.monotonic()
    with pytest.raises(RunBusy, match="this very process") as caught:
        second.acquire(os.getpid(), patience_s=60)
    assert time.monotonic() - began < 5
    assert caught.value.pid == os.getpid() and caught.value.exit_code == 3
    WriterLock(store, "other").acquire(os.getpid(), patience_s=0)
    first.release()
    second.acquire(os.getpid(), patience_s=0)
    second.release()
    second.release()


HOLD = """
import os, sys, time
from holdfast.engine.writer_lock import WriterLock
from holdfast.store.local import LocalStore
lock = WriterLock(LocalStore(sys.argv[1]), "r")
lock.acquire(int(sys.argv[2]), patience_s=0)
print("held", flush=True)
sys.stdin.readline()
"""


def holder(path: Path, owner_pid: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(owner_pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def a_dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    process = holder(tmp_path, os.getpid())
    with pytest.raises(RunBusy):
        WriterLock(LocalStore(tmp_path), "r").acquire(os.getpid(), patience_s=0)
    process.kill()
    process.communicate()
    WriterLock(LocalStore(tmp_path), "r").acquire(os.getpid(), patience_s=0)


def test_who_finishes_for_a_dead_trainer_is_waited_for(tmp_path: Path) -> None:
    process = holder(tmp_path, a_dead_pid())
    threading.Timer(0.2, lambda: process.communicate("\n")).start()
    began = time.monotonic()
    WriterLock(LocalStore(tmp_path), "r").acquire(os.getpid(), patience_s=30)
    assert 0.1 < time.monotonic() - began < 20
    process.wait()


def test_patience_has_an_end(tmp_path: Path) -> None:
    process = holder(tmp_path, a_dead_pid())
    with pytest.raises(RunBusy):
        WriterLock(LocalStore(tmp_path), "r").acquire(os.getpid(), patience_s=0.1)
    process.communicate("\n")
