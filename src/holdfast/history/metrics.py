"""The metrics of every step that a run has logged, saved or not, and which of them count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from holdfast.format import metric_columns
from holdfast.format.metric_columns import Floats, Ints, MetricColumns
from holdfast.records import metric_files
from holdfast.store.contract import ObjectStore


@dataclass(frozen=True, slots=True)
class MetricsLog:
    """Everything that a run has logged, in the order of logging.

    A step that was done again after a resume is there twice; the row of the timeline that training
    went on with counts, the other is superseded.

    Attributes:
        steps: The step of each row.
        times: When it was logged, in UTC.
        incarnations: Of which process each row is: an index of ``incarnation_ids``.
        incarnation_ids: The incarnations, as checkpoints name them, in order.
        counts: Whether the row is of the timeline that training went on with.
        values: Each metric's value in each row; NaN where it was not logged, or was NaN.
    """

    steps: Ints
    times: npt.NDArray[np.datetime64]
    incarnations: Ints
    incarnation_ids: tuple[str, ...]
    counts: npt.NDArray[np.bool_]
    values: Mapping[str, Floats]
    _columns: MetricColumns

    @property
    def names(self) -> list[str]:
        """The names of all metrics, in the order in which they came up."""
        return list(self._columns.series)

    def rows_of(self, name: str) -> Ints:
        """Return the rows that have a metric."""
        found = self._columns.series.get(name)
        return np.empty(0, np.int64) if found is None else found.rows

    def incarnation_of(self, row: int) -> str | None:
        """Return which process has logged a row, as checkpoints name it."""
        return self.incarnation_ids[self.incarnations[row]] if self.incarnation_ids else None

    def series(self, name: str) -> tuple[Ints, Floats]:
        """Return the steps at which a metric was logged and counts, rising, and its values.

        Of several values of a step the last one counts.
        """
        found = self._columns.series.get(name)
        if found is None:
            return np.empty(0, np.int64), np.empty(0, np.float64)
        counting = self.counts[found.rows]
        steps, values = self.steps[found.rows][counting], found.values[counting]
        # The last of equal steps is the first from behind.
        unique, index = np.unique(steps[::-1], return_index=True)
        return unique, values[::-1][index]


def read_metrics(store: ObjectStore, run: str) -> MetricsLog:
    """Return what a run has logged; segments that cannot be read are passed over, and told."""
    found = [metric_files.read(store, run, segment) for segment in metric_files.listed(store, run)]
    return of_columns(metric_columns.joined(found))


def of_columns(columns: MetricColumns) -> MetricsLog:
    """Return a log of columns, with what counts found out."""
    names = list(dict.fromkeys(b.incarnation for b in columns.beginnings))
    owners = np.zeros(len(columns.steps), np.int64)
    counts = np.ones(len(columns.steps), bool)
    for beginning in columns.beginnings:
        owners[beginning.row :] = names.index(beginning.incarnation)
        counts[: beginning.row] &= columns.steps[: beginning.row] <= beginning.after_step
    values = {}
    for name, series in columns.series.items():
        values[name] = np.full(len(columns.steps), np.nan)
        values[name][series.rows] = series.values
    return MetricsLog(
        columns.steps,
        columns.times_ns.astype("datetime64[ns]"),
        owners,
        tuple(names),
        counts,
        values,
        columns,
    )
