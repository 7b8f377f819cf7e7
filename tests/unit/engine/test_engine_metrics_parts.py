"""The parts that carry metrics: the ring, what feeds it, and what drains it into the store."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer
from holdfast.engine import metrics_feed
from holdfast.engine.metrics_drain import MetricsDrain
from holdfast.engine.metrics_feed import MetricsFeed
from holdfast.engine.metrics_ring import RING_BYTES, MetricsRing
from holdfast.errors import StoreUnavailable
from holdfast.history.metrics import read_metrics
from holdfast.records import metric_files
from holdfast.records.opening import open_store
from holdfast.store.contract import ObjectStore
from holdfast.store.local import LocalStore


def logged(store: ObjectStore) -> list[tuple[int, float]]:
    steps, values = read_metrics(store, "r").series("loss")
    return list(zip(steps.tolist(), values.tolist(), strict=True))


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
    assert logged(store) == [(1, 1.0), (2, 2.0)]
    ring.close()


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
    assert logged(store) == [(1, 3.0)]
    # A crash between the segment and the end of its live file counts nothing twice.
    metric_files.append(store, "r", 4, b'[9,9,{"loss":9.0}]\n')
    assert logged(store) == [(1, 3.0)]
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
    assert logged(store) == [(step, float(step)) for step in range(300)]
    ring.close()


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
    with Checkpointer(store_path, {"n": 1}, run="r", rng=False) as ckpt:
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
    assert logged(LocalStore(store_path)) == [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0)]


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
    assert logged(LocalStore(store_path)) == [(1, 2.0)]
