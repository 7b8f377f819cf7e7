"""Metrics of a report for Prometheus and OpenTelemetry, read back by their own readers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from histories import Script
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families
from tensorboard.backend.event_processing import event_accumulator

from absent import required
from holdfast.effectiveness.lives import lives_of
from holdfast.effectiveness.mlflow import log_report
from holdfast.effectiveness.opentelemetry import record_report
from holdfast.effectiveness.prometheus import prometheus_text
from holdfast.effectiveness.report import Report, report_of
from holdfast.effectiveness.tensorboard import write_report
from holdfast.errors import MissingDependency


@pytest.fixture
def report() -> Report:
    script = Script('a "run"')
    script.begin()
    script.train([1.0] * 10)
    script.save()
    script.end("died")
    script.pause(5.0)
    script.begin()
    script.restore(9, 1.0)
    script.train([1.0] * 4)
    script.end("done")
    return report_of('a "run"', lives_of(script.events, 'a "run"'))


def test_prometheus_reads_what_was_written(report: Report) -> None:
    families = {f.name: f for f in text_string_to_metric_families(prometheus_text(report))}
    [ettr] = families["holdfast_ettr_ratio"].samples
    assert ettr.value == pytest.approx(report.ettr) and ettr.labels == {"run": 'a "run"'}
    spent = {s.labels["spent"]: s.value for s in families["holdfast_wall_clock_seconds"].samples}
    assert spent == pytest.approx(report.wall_clock.shares_s)
    [ends] = families["holdfast_interruptions"].samples
    assert (ends.labels["how"], ends.value) == ("died", 1.0)


def test_opentelemetry_gets_the_same(report: Report) -> None:
    reader = InMemoryMetricReader()
    record_report(report, MeterProvider(metric_readers=[reader]))
    data = reader.get_metrics_data()
    assert data is not None
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    found = {m.name: list(m.data.data_points) for m in metrics}
    [ettr] = found["holdfast.ettr_ratio"]
    assert ettr.value == pytest.approx(report.ettr)
    assert dict(ettr.attributes or {}) == {"run": 'a "run"'}
    assert len(found["holdfast.wall_clock_seconds"]) == 7


def test_tensorboard_shows_it_at_the_step_that_the_run_has_come_to(
    report: Report, tmp_path: Path
) -> None:
    write_report(report, tmp_path)
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    [ettr] = events.Scalars("holdfast/ettr_ratio")
    assert (ettr.step, ettr.value) == (14, pytest.approx(report.ettr))
    [useful] = events.Scalars("holdfast/wall_clock_seconds/useful")
    assert useful.value == pytest.approx(report.wall_clock.useful_s)


def test_a_later_report_is_beside_an_earlier_one(report: Report, tmp_path: Path) -> None:
    for _ in range(2):
        write_report(report, tmp_path / "logs" / "r")
    assert len(list((tmp_path / "logs" / "r").iterdir())) == 2
    events = event_accumulator.EventAccumulator(str(tmp_path / "logs" / "r")).Reload()
    assert [value.step for value in events.Scalars("holdfast/ettr_ratio")] == [14, 14]


def test_mlflow_shows_the_same(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = required("mlflow")
    # Without a server and a database.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as run:
        log_report(report)
    found = mlflow.get_run(run.info.run_id).data.metrics
    assert found["holdfast/ettr_ratio"] == pytest.approx(report.ettr)
    assert found["holdfast/wall_clock_seconds/done_twice"] == 0.0


PACKAGES: dict[str, Callable[[Report], object]] = {
    "prometheus_client": prometheus_text,
    "opentelemetry": record_report,
    "crc32c": lambda report: write_report(report, "nowhere"),
    "mlflow": log_report,
}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_that_is_not_there_is_named(
    report: Report, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match="pip install"):
        PACKAGES[package](report)
