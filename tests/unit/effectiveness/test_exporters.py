"""Metrics of a report for Prometheus and OpenTelemetry, read back by their own readers."""

from __future__ import annotations

import sys

import pytest
from histories import Script
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families

from holdfast.effectiveness.lives import lives_of
from holdfast.effectiveness.opentelemetry import record_report
from holdfast.effectiveness.prometheus import prometheus_text
from holdfast.effectiveness.report import Report, report_of
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


@pytest.mark.parametrize("package", ["prometheus_client", "opentelemetry"])
def test_a_package_that_is_not_there_is_named(
    report: Report, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match="pip install"):
        prometheus_text(report) if package == "prometheus_client" else record_report(report)
