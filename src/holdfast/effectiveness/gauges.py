"""A report as numbers with names: what monitoring systems take."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from holdfast.effectiveness.report import Report

_NO_NAME = re.compile(r"[^\w.-]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number, or several that differ in labels; names follow the habits of Prometheus."""

    name: str
    unit: str
    help: str
    labels: tuple[str, ...]
    values: tuple[tuple[tuple[str, ...], float], ...]


def gauges(report: Report) -> list[Gauge]:
    """Return the numbers of a report."""
    ends = Counter(interruption.how for interruption in report.interruptions)
    shares = report.wall_clock.shares_s
    return [
        _one("ettr_ratio", "1", "Useful time ÷ wall-clock.", report.ettr),
        _one("save_overhead_ratio", "1", "Share of training that saves cost.", report.overhead),
        _one("steps", "1", "Steps that still count.", report.steps),
        _one("steps_done_twice", "1", "Steps that were lost.", report.steps_twice),
        _one("saves", "1", "Saves that became durable.", report.n_saves),
        _one("saves_failed", "1", "Saves that failed.", report.n_failed),
        _one("saves_skipped", "1", "Saves that were skipped.", report.n_skipped),
        _one("state_bytes", "By", "Size of the newest checkpoint.", report.state_bytes),
        _one("stored_bytes", "By", "Bytes written in all.", report.stored_bytes),
        _one("kept_bytes", "By", "Bytes that are in the store.", report.holdings.used_bytes),
        _one("kept", "1", "Checkpoints that are in the store.", report.holdings.n_kept),
        Gauge(
            "wall_clock_seconds",
            "s",
            "Where the wall-clock went.",
            ("spent",),
            tuple(((name,), seconds) for name, seconds in shares.items()),
        ),
        Gauge(
            "interruptions",
            "1",
            "Ends of training after which it went on.",
            ("how",),
            tuple(((how,), float(count)) for how, count in sorted(ends.items())),
        ),
        Gauge("save_seconds", "s", "What a save took.", ("part", "quantile"), _save_values(report)),
    ]


def scalars(report: Report) -> dict[str, float]:
    """Return the numbers of a report each by one name, for systems that know no labels.

    What MLflow takes as a name: letters, digits, ``_``, ``-``, ``.``, ``/`` and blanks.
    """
    return {
        "/".join((gauge.name, *(_NO_NAME.sub("_", label) for label in labels))): value
        for gauge in gauges(report)
        for labels, value in gauge.values
    }


def _one(name: str, unit: str, text: str, value: float) -> Gauge:
    return Gauge(name, unit, text, (), (((), float(value)),))


def _save_values(report: Report) -> tuple[tuple[tuple[str, ...], float], ...]:
    parts = {
        "held": report.held_s,
        "snapshot": report.snapshot_s,
        "queued": report.queued_s,
        "persist": report.persist_s,
        "durable": report.durable_s,
        "restore": report.restore_s,
    }
    return tuple(
        ((part, quantile), value)
        for part, found in parts.items()
        for quantile, value in (("0.5", found.p50), ("0.95", found.p95), ("1", found.highest))
        if value is not None
    )
