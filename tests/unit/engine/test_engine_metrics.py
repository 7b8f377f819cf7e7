"""Metrics of every step: from the loop through shared memory into the store, and back."""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import holdfast
from holdfast import Checkpointer, every, keep, on
from holdfast.engine import metrics_feed
from holdfast.engine.metrics_drain import SMALL_SEGMENTS, MetricsDrain
from holdfast.engine.metrics_feed import MetricsFeed
from holdfast.engine.metrics_ring import MetricsRing
from holdfast.errors import NotFound, UsageError
from holdfast.format.names import RunKeys
from holdfast.records import metric_files
from holdfast.records.opening import open_store

KEYS = RunKeys("r")


def state() -> dict[str, Any]:
    return {"w": np.zeros(100)}


def logged(path: Path, name: str = "loss") -> list[tuple[int, float]]:
    steps, values = holdfast.Store(path).metrics("r").series(name)
    return list(zip(steps.tolist(), values.tolist(), strict=True))


def test_a_step_that_is_saved_once_more_keeps_what_was_logged_of_it(store_path: Path) -> None:
    keep_best = keep.last(1) | keep.best("val_loss")
    with Checkpointer(
        store_path, state(), run="r", save=on.best("val_loss"), keep=keep_best
    ) as ckpt:
        for step in range(3):
            ckpt.step(step, metrics={"val_loss": 3.0 - step})
        ckpt.save(2, tag="final", metrics={"test": 7.0})
    store = holdfast.Store(store_path)
    # The last checkpoint supersedes the one that was the best.
    best = store.info("r@best:val_loss")
    assert (best.tags, best.metrics) == (("final",), {"val_loss": 1.0, "test": 7.0})
    with Checkpointer(store_path, state(), run="r", save=on.best("val_loss")) as ckpt:
        ckpt.restore()
        assert ckpt.step(3, metrics={"val_loss": 1.5}) is None


def test_what_is_saved_of_another_step_has_only_its_own_metrics(store_path: Path) -> None:
    with Checkpointer(store_path, state(), run="r") as ckpt:
        ckpt.step(0, metrics={"loss": 1.0})
        ckpt.save(1)
        ckpt.step(1, metrics={"loss": 2.0})
        ckpt.restore("r@1")
        ckpt.save(1, tag="again")
    assert [info.metrics for info in holdfast.Store(store_path).log("r")] == [{}, {}]


def test_what_an_exception_saves_has_the_metrics_of_its_step(store_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        Checkpointer(store_path, state(), run="r", save=on.exception()) as ckpt,
    ):
        for step in range(3):
            ckpt.step(step, metrics={"loss": float(step)})
        raise ZeroDivisionError
    assert holdfast.Store(store_path).info("r@best:loss").step == 2


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
        assert logged(store_path)[:-1] == [(s, float(s)) for s in range(start + 1)]
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
