"""Metrics and marks of runs, as TensorBoard's own reader finds them."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.data import provider
from tensorboard.util import tensor_util

import holdfast
from absent import required
from holdfast import Checkpointer, every
from holdfast.cli import main
from holdfast.convert import export, export_metrics
from holdfast.errors import AlreadyExists, CannotConvert, NotFound, UsageError


def train(store: Path, until: int, *, run: str = "r", scale: float = 1.0) -> None:
    state = {"w": np.zeros(8)}
    with Checkpointer(store, state, run=run, save=every(steps=4), config={"lr": 0.1}) as ckpt:
        ckpt.restore()
        for step in range(ckpt.next_step, until):
            metrics = {"loss": scale / (step + 3), "odd/ü": float("nan") if step == 2 else step}
            ckpt.step(step, metrics if step % 2 else {"loss": metrics["loss"]})


def read(folder: Path, tag: str) -> list[tuple[int, Any]]:
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    return [(e.step, tensor_util.make_ndarray(e.tensor_proto).item()) for e in found.Tensors(tag)]


def test_every_value_is_there_bit_for_bit(tmp_path: Path) -> None:
    train(tmp_path / "s", 11)
    report = export_metrics(tmp_path / "s", "r", tmp_path / "logs/r")
    assert report.names == ("loss", "odd/ü") and report.n_values == 11 + 5
    # Of 64 bits: what a third of something is, is not rounded.
    assert read(tmp_path / "logs/r", "loss") == [(n, 1.0 / (n + 3)) for n in range(11)]
    assert read(tmp_path / "logs/r", "odd/ü") == [(n, float(n)) for n in range(1, 11, 2)]
    [file] = report.files
    assert (tmp_path / "logs/r" / file).stat().st_size == report.nbytes


def test_tensorboard_shows_it_as_scalars_and_texts(tmp_path: Path) -> None:
    train(tmp_path / "s", 9)
    store = holdfast.Store(tmp_path / "s")
    store.tag("r@4", "good")
    store.note("r@4", "looked **at** it")
    export_metrics(store, "r", tmp_path / "logs/r")
    runs = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "logs")).Reload()
    data, about = MultiplexerDataProvider(runs, str(tmp_path / "logs")), RequestContext()
    asked = {"experiment_id": "", "downsample": 100}
    scalars = data.list_scalars(about, experiment_id="", plugin_name="scalars")
    assert set(scalars["r"]) == {"loss", "odd/ü"}
    only = provider.RunTagFilter(tags=["loss"])
    shown = data.read_scalars(about, plugin_name="scalars", run_tag_filter=only, **asked)
    log = store.metrics("r")
    assert [d.value for d in shown["r"]["loss"]] == log.series("loss")[1].tolist()
    times = log.times.astype("int64") / 1e9
    assert [d.wall_time for d in shown["r"]["loss"]] == times.tolist()
    texts = data.list_tensors(about, experiment_id="", plugin_name="text")
    assert set(texts["r"]) == {"holdfast/checkpoints", "holdfast/config"}
    marks = dict(read(tmp_path / "logs/r", "holdfast/checkpoints"))
    assert set(marks) == {info.step for info in store.log("r")}
    assert "`good`" in marks[4].decode() and "looked **at** it" in marks[4].decode()
    assert b'"lr": 0.1' in read(tmp_path / "logs/r", "holdfast/config")[0][1]


def test_what_was_done_again_counts_and_the_start_is_a_mark(tmp_path: Path) -> None:
    train(tmp_path / "s", 11)
    holdfast.Store(tmp_path / "s").prune("r", holdfast.keep.every(steps=8), dry_run=False)
    newest = holdfast.Store(tmp_path / "s").log("r")[-1].step
    train(tmp_path / "s", 14, scale=2.0)
    export_metrics(tmp_path / "s", "r", tmp_path / "logs")
    expected = [(n, (1.0 if n <= newest else 2.0) / (n + 3)) for n in range(14)]
    assert read(tmp_path / "logs", "loss") == expected
    [(step, text)] = read(tmp_path / "logs", "holdfast/starts")
    assert (step, text) == (newest, f"resumed from `r@{newest}`".encode())


def test_metrics_of_single_saves_are_there(tmp_path: Path) -> None:
    for step, value in enumerate([float("inf"), -0.0, 1e300]):
        holdfast.save(tmp_path / "s", {"n": 1}, run="r", step=step, metrics={"m": value})
    export_metrics(tmp_path / "s", "r", tmp_path / "logs")
    assert read(tmp_path / "logs", "m") == [(0, float("inf")), (1, 0.0), (2, 1e300)]


def test_a_run_without_metrics_has_its_marks(tmp_path: Path) -> None:
    holdfast.save(tmp_path / "s", {"n": 1}, run="r", step=3)
    report = export_metrics(tmp_path / "s", "r", tmp_path / "logs")
    assert report.names == () and report.n_marks == 1
    assert [step for step, _ in read(tmp_path / "logs", "holdfast/checkpoints")] == [3]


def test_names_are_chosen_and_changed(tmp_path: Path) -> None:
    metrics = {"val_loss": 1.0, "train_loss": 2.0, "lr": 0.1}
    holdfast.save(tmp_path / "s", {"n": 1}, run="r", step=0, metrics=metrics)
    rename = [r"^(val|train)_=\1/"]
    report = export_metrics(tmp_path / "s", "r", tmp_path / "a", skip="lr", rename=rename)
    assert set(report.names) == {"val/loss", "train/loss"}
    assert read(tmp_path / "a", "val/loss") == [(0, 1.0)]
    with pytest.raises(CannotConvert, match="both be called 'loss'"):
        export_metrics(tmp_path / "s", "r", tmp_path / "b", rename=["^(val|train)_="])
    assert not (tmp_path / "b").exists()


def test_records_have_checksums_that_tensorflow_compares(tmp_path: Path) -> None:
    tf = required("tensorflow")
    holdfast.save(tmp_path / "s", {"n": 1}, run="r", step=0, metrics={"m": 1.0})
    [name] = export_metrics(tmp_path / "s", "r", tmp_path / "logs").files
    whole = (tmp_path / "logs" / name).read_bytes()
    records = list(tf.data.TFRecordDataset(str(tmp_path / "logs" / name)).as_numpy_iterator())
    assert len(records) == 3 and sum(map(len, records)) + 3 * 16 == len(whole)
    (length,) = struct.unpack("<Q", whole[:8])
    damaged = bytearray(whole)
    damaged[12 + length // 2] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    with pytest.raises(tf.errors.DataLossError):
        list(tf.data.TFRecordDataset(str(tmp_path / "damaged")))


def test_wrong_calls_write_nothing(tmp_path: Path) -> None:
    holdfast.save(tmp_path / "s", {"n": 1}, run="r", step=0, metrics={"m": 1.0})
    with pytest.raises(NotFound):
        export_metrics(tmp_path / "s", "no run", tmp_path / "logs")
    with pytest.raises(UsageError, match="export_metrics"):
        export(tmp_path / "s", "r@0", tmp_path / "logs", format="tensorboard")
    assert not (tmp_path / "logs").exists()
    export_metrics(tmp_path / "s", "r", tmp_path / "logs")
    with pytest.raises(AlreadyExists):
        export_metrics(tmp_path / "s", "r", tmp_path / "logs")
    export_metrics(tmp_path / "s", "r", tmp_path / "logs", overwrite=True)
    (tmp_path / "logs/mine").write_text("precious")
    with pytest.raises(AlreadyExists, match="other things"):
        export_metrics(tmp_path / "s", "r", tmp_path / "logs", overwrite=True)
    assert (tmp_path / "logs/mine").read_text() == "precious"


def test_the_command_line_does_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "s", 5)
    command = ["holdfast", "--store", str(tmp_path / "s"), "export", "r", str(tmp_path / "logs")]
    monkeypatch.setattr(sys, "argv", [*command, "--format", "tensorboard"])
    assert main() == 0
    assert "read back" in capsys.readouterr().out
    assert len(read(tmp_path / "logs", "loss")) == 5
    monkeypatch.setattr(sys, "argv", [*command, "--format", "tensorboard", "--root", "x"])
    assert main() == 2
