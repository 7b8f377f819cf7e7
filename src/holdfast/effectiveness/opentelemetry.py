"""A report as metrics of OpenTelemetry, through whatever meter provider the user has set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.effectiveness.gauges import gauges
from holdfast.effectiveness.report import Report
from holdfast.errors import MissingDependency

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider


def record_report(report: Report, provider: MeterProvider | None = None) -> None:
    """Set a gauge for each number of a report.

    Args:
        report: What is told.
        provider: Where to; the global one if None.

    Raises:
        MissingDependency: The package ``opentelemetry-api`` is not there.
    """
    try:
        from opentelemetry import metrics
    except ImportError as error:
        raise MissingDependency(
            "Metrics for OpenTelemetry need a package: pip install 'holdfast[opentelemetry]'."
        ) from error
    meter = (provider or metrics.get_meter_provider()).get_meter("holdfast")
    for gauge in gauges(report):
        instrument = meter.create_gauge(
            f"holdfast.{gauge.name}", unit=gauge.unit, description=gauge.help
        )
        for labels, value in gauge.values:
            named = dict(zip(gauge.labels, labels, strict=True))
            instrument.set(value, {"run": report.run, **named})
