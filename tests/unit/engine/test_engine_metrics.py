"""Metrics of every step: from the loop through shared memory into the store, and back."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import holdfast
from holdfast import Checkpointer, every, on
from holdfast.engine import metrics_feed
from holdfast.engine.metrics_drain import SMALL_SEGMENTS, MetricsDrain
from holdfast.engine.metrics_feed import MetricsFeed
from holdfast.engine.metrics_ring import RING_BYTES, MetricsRing
from holdfast.errors import NotFound, StoreUnavailable, UsageError
from holdfast.format.names import RunKeys
from holdfast.records import metric_files
from holdfast.records.marker import open_store
from holdfast.store.local import LocalStore

KEYS = RunKeys("r")


def state() -> dict[str, Any]:
    return {"w": np.zeros(100)}


def logged(path: Path, name: str = "loss") -> list[tuple[int, float]]:
    steps, values = holdfast.Store(path).metrics("r").series(name)
    return list(zip(steps.tolist(), values.tolist(), strict=True))


# --- the whole way ---


def test_every_step_is_kept_saved_or_not(store_path: Path) -> None:
    with Checkpointer(store_path, state(), run="r", save=every(steps=10)) as ckpt:
        for step in range(25):
            extra = {"val": torch.tensor(step / 2)} if step % 5 == 0 else {}
            ckpt.step(step, metrics={"loss": np.float32(step), "nan": math.nan} | extra)
        ckpt.step(25)
        ckpt.save(25, metrics={"test": 7})
    log = holdfast.Store(store_path).metrics("r")
    assert log.names == ["loss", "nan", "val", "test"]
    assert log.series("loss")[0].tolist() == list(range(25))
    assert log.series("loss")[1].tolist() == [float(step) for step in range(25)]
    assert log.series("val")[0].tolist() == [0, 5, 10, 15, 20]
    assert log.series("val")[1].tolist() == [0.0, 2.5, 5.0, 7.5, 10.0]
    assert np.isnan(log.series("nan")[1]).all() and len(log.series("nan")[0]) == 25
    assert log.series("test")[0].tolist() == [25]
    assert log.counts.all() and (np.diff(log.times) >= np.timedelta64(0)).all()
    infos = holdfast.Store(store_path).log("r")
    assert {info.incarnation for info in infos} == set(log.incarnation_ids)
    # Compactly, and nothing else beside.
    [segment] = list((store_path / KEYS.metrics).iterdir())
    assert segment.name == "000000000001"


def test_after_a_resume_the_later_row_of_a_step_counts(store_path: Path) -> None:
    def run(first: int, last: int, shift: float, restore: bool = True) -> None:
        with Checkpointer(store_path, state(), run="r", save=every(steps=10)) as ckpt:
            restored = ckpt.restore() if restore else None
            assert (restored.step + 1 if restored else 0) == first
            for step in range(first, last):
                ckpt.step(step, metrics={"loss": step + shift})

    run(0, 18, 0.0)
    run(11, 14, 0.25)
    assert logged(store_path) == [(s, float(s)) for s in range(11)] + [
        (s, s + 0.25) for s in range(11, 14)
    ]
    log = holdfast.Store(store_path).metrics("r")
    assert len(log.steps) == 18 + 3 and log.counts.sum() == 14
    assert log.incarnations.tolist() == [0] * 18 + [1] * 3
    # In the same process, too.
    with Checkpointer(store_path, state(), run="r") as ckpt:
        ckpt.restore(10)
        ckpt.step(11, {"loss": -1})
        ckpt.step(12, {"loss": -1})
        ckpt.restore(10)
        ckpt.step(11, {"loss": -2})
    assert logged(store_path)[-2:] == [(10, 10.0), (11, -2.0)]
    # Begun anew, nothing of what was before counts.
    run(0, 2, 0.5, restore=False)
    assert logged(store_path) == [(0, 0.5), (1, 1.5)]


KILLED = """
import sys, os, signal, numpy as np
from holdfast import Checkpointer
with Checkpointer(sys.argv[1], {"w": np.zeros(3)}, run="r") as ckpt:
    ckpt.save(0).wait()
    for step in range(1, 5001):
        ckpt.step(step, metrics={"loss": step / 7})
    print(ckpt._saver.client.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def until_gone(pid: int) -> None:
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)


def test_a_trainer_that_is_killed_loses_no_row(store_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(store_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    until_gone(int(done.stdout))
    assert logged(store_path) == [(step, step / 7) for step in range(1, 5001)]


def test_a_persister_that_is_killed_loses_no_row(store_path: Path) -> None:
    with Checkpointer(store_path, state(), run="r") as ckpt:
        ckpt.save(0).wait()
        for step in range(1, 301):
            ckpt.step(step, metrics={"loss": step})
            if step in (100, 200):
                os.kill(ckpt._saver.client.pid, signal.SIGKILL)
                ckpt.save(step).wait()
    assert logged(store_path) == [(step, float(step)) for step in range(1, 301)]


@pytest.mark.parametrize(
    "metrics",
    [
        *({"loss": value} for value in ("low", "1.5", "nan", b"1", np.str_("2"), np.zeros(2), {})),
        {3: 1.0},
        {"": 1.0},
        [1.0],
    ],
    ids=str,
)
def test_what_is_no_number_is_refused_at_once(store_path: Path, metrics: Any) -> None:
    with Checkpointer(store_path, state(), run="r") as ckpt:
        with pytest.raises(UsageError):
            ckpt.step(0, metrics=metrics)
        ckpt.step(1, metrics={"loss": 1.0})
    assert logged(store_path) == [(1, 1.0)]


def test_a_run_without_metrics_has_none(store_path: Path) -> None:
    with Checkpointer(store_path, state(), run="r") as ckpt:
        ckpt.step(0)
        ckpt.save(0)
    log = holdfast.Store(store_path).metrics("r")
    assert (log.names, len(log.steps), log.series("x")[0].tolist()) == ([], 0, [])
    assert not (store_path / KEYS.metrics).exists()
    with pytest.raises(NotFound):
        holdfast.Store(store_path).metrics("other")


def test_a_clock_that_goes_back_changes_no_order(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(10**18, 0, -(10**9)))
    monkeypatch.setattr(metrics_feed.time, "time_ns", lambda: next(times))
    with Checkpointer(store_path, state(), run="r") as ckpt:
        for step in range(5):
            ckpt.step(step, {"loss": step})
        ckpt.step(3, {"loss": 33})
    assert logged(store_path) == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 33.0), (4, 4.0)]


def test_files_stay_few_however_often_a_run_is_started(store_path: Path) -> None:
    store = open_store(store_path, create=True)
    for start in range(3 * SMALL_SEGMENTS):
        ring = MetricsRing.create()
        drain, feed = MetricsDrain(ring, store, "r"), MetricsFeed(ring, f"{start:032x}")
        drain.start()
        feed.begin(start - 1)
        feed.log(start, {"loss": start})
        # Which does not count, as the next process goes on from the step before.
        feed.log(start + 1, {"loss": -1})
        drain.close()
        ring.close()
        assert logged_of(store)[:-1] == [(s, float(s)) for s in range(start + 1)]
    assert len(list((store_path / KEYS.metrics).iterdir())) <= SMALL_SEGMENTS + 1


def test_a_damaged_segment_is_passed_over_and_told(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for start in range(2):
        with Checkpointer(store_path, state(), run="r") as ckpt:
            ckpt.restore()
            ckpt.step(ckpt.next_step, {"loss": start})
            ckpt.save(ckpt.next_step).wait()
    (store_path / metric_files.key_of("r", 1, is_live=False)).write_bytes(b"spoilt")
    assert logged(store_path) == [(1, 1.0)]
    assert "segment 1 of the metrics of run 'r' is damaged" in caplog.text


# --- the parts ---


def test_the_ring_hands_on_what_it_was_given_in_order() -> None:
    ring = MetricsRing.create()
    other = MetricsRing.attach(os.dup(ring.fd))
    random = np.random.default_rng(0)
    sent, received = bytearray(), bytearray()
    while len(sent) < 5 * RING_BYTES:
        data = random.bytes(int(random.integers(1, 200_000)))
        if ring.put(data):
            sent += data
        else:
            got = other.peek()
            assert len(got) + len(data) > RING_BYTES
            other.take(len(got))
            received += got
    received += other.peek()
    assert received == sent
    ring.close()
    other.close()


def test_two_processes_lose_nothing_through_the_ring(tmp_path: Path) -> None:
    ring = MetricsRing.create()
    lines = [f"line {number}\n".encode() for number in range(200_000)]
    received = bytearray()

    def take() -> None:
        while len(received) < sum(map(len, lines)):
            data = ring.peek()
            ring.take(len(data))
            received.extend(data)

    taker = threading.Thread(target=take)
    taker.start()
    for line in lines:
        while not ring.put(line):
            pass
    taker.join(timeout=60)
    assert bytes(received) == b"".join(lines)
    ring.close()


def test_rows_wait_while_nobody_takes_them_and_loss_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics_feed, "WAITING_LINES", 10)
    ring = MetricsRing.create()
    feed = MetricsFeed(ring, "a" * 32)
    while ring.put(b"x" * 1000):
        pass
    while ring.put(b"x"):
        pass
    for step in range(5):
        feed.log(step, {"loss": 1.0})
    ring.take(len(ring.peek()))
    feed.log(5, {"loss": 1.0})
    lines = ring.peek().splitlines()
    assert len(lines) == 7 and lines[0].startswith(b'["begin"')
    assert [int(line[1:2]) for line in lines[1:]] == [0, 1, 2, 3, 4, 5]
    while ring.put(b"x"):
        pass
    for step in range(30):
        feed.log(step, {"loss": 1.0})
    feed.close()
    assert "metrics of 30 step(s) were not kept" in caplog.text
    # One that never fits holds up no other.
    ring.take(len(ring.peek()))
    feed.log(0, {"x" * RING_BYTES: 1.0})
    feed.log(1, {"loss": 1.0})
    assert b"[1," in ring.peek()
    ring.close()


def test_a_store_that_takes_nothing_for_a_while_loses_nothing(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("holdfast.engine.metrics_drain.PERIOD_S", 0.01)
    store = open_store(store_path, create=True)
    ring = MetricsRing.create()
    real, failing = store.append, threading.Event()
    failing.set()

    def append(key: str, data: bytes) -> None:
        if failing.is_set():
            raise holdfast.errors.NoSpace("full")
        real(key, data)

    monkeypatch.setattr(store, "append", append)
    drain = MetricsDrain(ring, store, "r")
    drain.start()
    feed = MetricsFeed(ring, "a" * 32)
    feed.log(1, {"loss": 1.0})
    deadline = time.monotonic() + 30
    while "held back: full" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    failing.clear()
    feed.log(2, {"loss": 2.0})
    drain.close()
    assert logged_of(store) == [(1, 1.0), (2, 2.0)]
    ring.close()


def logged_of(store: Any) -> list[tuple[int, float]]:
    from holdfast.history.metrics import read_metrics

    steps, values = read_metrics(store, "r").series("loss")
    return list(zip(steps.tolist(), values.tolist(), strict=True))


class Computing:
    """A number on an accelerator, as far as can be seen from here: reading it would wait."""

    class device:  # noqa: N801 - as the arrays of frameworks have it
        type = "accelerator"

    reads = 0

    def __init__(self, value: Any) -> None:
        self.value = value

    def detach(self) -> Computing:
        return self

    def clone(self) -> Computing:
        return Computing(self.value)

    def item(self) -> Any:
        Computing.reads += 1
        return self.value


def test_what_an_accelerator_has_still_to_compute_is_read_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ring = MetricsRing.create()
    feed = MetricsFeed(ring, "a" * 32)
    running = Computing(0.0)
    for step in range(metrics_feed.LATER_ROWS - 1):
        running.value = float(step)  # A sum that is changed in place.
        feed.log(step, {"loss": running, "lr": 0.5})
    assert (Computing.reads, ring.peek()) == (0, b"")
    feed.log(step + 1, {"loss": Computing("nothing")})
    lines = [json.loads(line) for line in ring.peek().splitlines()[1:]]
    assert [[row[0], row[2]["loss"]] for row in lines[:-1]] == [
        [step, float(step)] for step in range(metrics_feed.LATER_ROWS - 1)
    ]
    assert math.isnan(lines[-1][2]["loss"]) and "is kept as NaN" in caplog.text
    # What comes after a number that waits, waits too, until somebody wants all.
    feed.log(70, {"loss": Computing(1)})
    feed.log(71, {"loss": 2.0})
    assert len(ring.peek().splitlines()) == metrics_feed.LATER_ROWS + 1
    feed.flush()
    assert [json.loads(line)[0] for line in ring.peek().splitlines()[-2:]] == [70, 71]
    ring.close()


def test_what_a_dead_writer_left_is_taken_up(store_path: Path) -> None:
    store = open_store(store_path, create=True)
    line = b'["begin","' + b"a" * 32 + b'",-1]\n[1,2,{"loss":3.0}]\n[2,3,{"lo'
    metric_files.append(store, "r", 4, line)
    ring = MetricsRing.create()
    drain = MetricsDrain(ring, store, "r")
    drain.start()
    drain.close()
    assert [s.number for s in metric_files.listed(store, "r")] == [4]
    assert not metric_files.listed(store, "r")[0].is_live
    assert logged_of(store) == [(1, 3.0)]
    # A crash between the segment and the end of its live file counts nothing twice.
    metric_files.append(store, "r", 4, b'[9,9,{"loss":9.0}]\n')
    assert logged_of(store) == [(1, 3.0)]
    ring.close()


def test_a_long_log_is_cut_into_segments(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.engine.metrics_drain.SEGMENT_BYTES", 1000)
    monkeypatch.setattr("holdfast.engine.metrics_drain.PERIOD_S", 0.01)
    store = open_store(store_path, create=True)
    ring = MetricsRing.create()
    drain = MetricsDrain(ring, store, "r")
    drain.start()
    feed = MetricsFeed(ring, "a" * 32)
    for step in range(300):
        feed.log(step, {"loss": float(step)})
        time.sleep(0.001)
    drain.close()
    assert len(metric_files.listed(store, "r")) > 1
    assert logged_of(store) == [(step, float(step)) for step in range(300)]
    ring.close()


def test_logging_does_not_wait_for_the_store(store_path: Path) -> None:
    # The persister is stopped: a thousand steps go on all the same.
    with Checkpointer(store_path, state(), run="r") as ckpt:
        ckpt.save(0).wait()
        os.kill(ckpt._saver.client.pid, signal.SIGSTOP)
        try:
            for step in range(1, 1001):
                ckpt.step(step, {"loss": step})
        finally:
            os.kill(ckpt._saver.client.pid, signal.SIGCONT)
    assert len(logged(store_path)) == 1000


def test_on_best_and_the_log_see_the_same_numbers(store_path: Path) -> None:
    logging.getLogger("holdfast").setLevel(logging.NOTSET)
    with Checkpointer(store_path, state(), run="r", save=on.best("loss")) as ckpt:
        for step, loss in enumerate((3.0, math.nan, 2.0, math.inf, 1.0)):
            ckpt.step(step, {"loss": torch.tensor(loss, requires_grad=True)})
    assert [info.step for info in holdfast.Store(store_path).log("r")] == [0, 2, 4]
    assert repr(logged(store_path)) == "[(0, 3.0), (1, nan), (2, 2.0), (3, inf), (4, 1.0)]"


def until_taken(ring: MetricsRing) -> None:
    deadline = time.monotonic() + 30
    while ring.peek() and time.monotonic() < deadline:
        time.sleep(0.05)


class Interrupted:
    """Counters of a ring; a signal's handler runs while they are being looked at, once."""

    def __init__(self, counters: Any, handler: Any) -> None:
        self._counters, self._handler = counters, handler

    def __getitem__(self, which: int) -> int:
        found: int = self._counters[which]
        if which == 1 and self._handler is not None:
            handler, self._handler = self._handler, None
            handler()
        return found

    def __setitem__(self, which: int, value: int) -> None:
        self._counters[which] = value


def test_what_a_handler_logs_in_the_middle_of_a_step_is_kept() -> None:
    ring = MetricsRing.create()
    feed = MetricsFeed(ring, "a" * 32)
    feed.log(0, {"loss": 0.0})
    ring._counters = Interrupted(ring._counters, lambda: feed.log(2, {"loss": 2.0}))  # type: ignore[assignment]
    feed.log(1, {"loss": 1.0})
    feed.log(3, {"loss": 3.0})
    rows = [json.loads(line) for line in ring.peek().splitlines()]
    assert [row[0] for row in rows if row[0] != "begin"] == [0, 1, 2, 3]


def test_a_store_that_cannot_be_listed_at_first_keeps_the_order(store_path: Path) -> None:
    """Else what follows would be put before what is there, and count for nothing."""
    with Checkpointer(store_path, state(), run="r", rng=False) as ckpt:
        for step in range(3):
            ckpt.step(step, metrics={"loss": 1.0})

    class Shy(LocalStore):
        refusals = 3

        def list(self, prefix: str) -> Any:
            if self.refusals:
                self.refusals -= 1
                raise StoreUnavailable("Not now.")
            return super().list(prefix)

    ring = MetricsRing.create()
    feed = MetricsFeed(ring, "b" * 32)
    feed.begin(1)
    drain = MetricsDrain(ring, Shy(store_path), "r")
    drain.start()
    for step in (2, 3):
        feed.log(step, {"loss": 2.0})
    until_taken(ring)
    drain.close()
    assert logged(store_path) == [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0)]


def test_trouble_of_any_kind_does_not_end_the_writing(store_path: Path) -> None:
    class Odd(LocalStore):
        troubles = 2

        def append(self, key: str, data: bytes) -> None:
            if self.troubles:
                self.troubles -= 1
                raise ValueError("of a kind that nobody thought of")
            super().append(key, data)

    open_store(store_path, create=True)
    ring = MetricsRing.create()
    feed = MetricsFeed(ring, "b" * 32)
    drain = MetricsDrain(ring, Odd(store_path), "r")
    drain.start()
    feed.log(1, {"loss": 2.0})
    until_taken(ring)
    drain.close()
    assert logged(store_path) == [(1, 2.0)]
