"""A report as metrics of Prometheus, in its text format: for the collector of text files."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.effectiveness.gauges import gauges
from holdfast.effectiveness.report import Report
from holdfast.errors import MissingDependency


def prometheus_text(report: Report) -> str:
    """Return the text of a report's metrics.

    Raises:
        MissingDependency: The package ``prometheus-client`` is not there.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.core import GaugeMetricFamily
    except ImportError as error:
        raise MissingDependency(
            "Metrics for Prometheus need a package: pip install 'holdfast[prometheus]'."
        ) from error

    class Collector:
        def collect(self) -> Iterator[GaugeMetricFamily]:
            for gauge in gauges(report):
                names = ["run", *gauge.labels]
                family = GaugeMetricFamily(f"holdfast_{gauge.name}", gauge.help, labels=names)
                for labels, value in gauge.values:
                    family.add_metric([report.run, *labels], value)
                yield family

    registry = CollectorRegistry()
    registry.register(Collector())
    return generate_latest(registry).decode()
