"""A report as scalars of TensorBoard, beside the curves of the run that it is of."""

from __future__ import annotations

import time
from pathlib import Path

from holdfast.effectiveness.gauges import scalars
from holdfast.effectiveness.report import Report
from holdfast.errors import MissingDependency


def write_report(report: Report, folder: str | Path) -> None:
    """Write the numbers of a report into a log folder, at the step that the run has come to.

    Args:
        report: What is told.
        folder: A folder of logs; a file of events is added to it.

    Raises:
        MissingDependency: The package ``tensorboard`` is not there.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise MissingDependency(
            "Scalars for TensorBoard need a package: pip install 'holdfast[tensorboard]'."
        ) from error
    values = [
        Summary.Value(tag=f"holdfast/{name}", simple_value=value)
        for name, value in scalars(report).items()
    ]
    writer = EventFileWriter(str(folder))
    try:
        writer.add_event(
            Event(wall_time=time.time(), step=report.steps, summary=Summary(value=values))
        )
    finally:
        writer.close()
