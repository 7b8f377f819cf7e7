"""A report as scalars of TensorBoard, beside the curves of the run that it is of."""

from __future__ import annotations

import os
import time
from itertools import count
from pathlib import Path

from holdfast.effectiveness.gauges import scalars
from holdfast.effectiveness.report import Report
from holdfast.foreign import event_files


def write_report(report: Report, folder: str | Path) -> None:
    """Write the numbers of a report into a log folder, at the step that the run has come to.

    Args:
        report: What is told.
        folder: A folder of logs; a file of events is added to it.

    Raises:
        MissingDependency: The package ``crc32c`` is not there.
    """
    now_s = time.time()
    named = {f"holdfast/{name}": value for name, value in scalars(report).items()}
    records = (
        event_files.beginning(now_s),
        event_files.simple_event(report.steps, now_s, named),
    )
    Path(folder).mkdir(parents=True, exist_ok=True)
    event_files.write(_new_file(Path(folder), now_s), records)


def _new_file(folder: Path, now_s: float) -> Path:
    # TensorBoard reads the files of a folder in the order of their names, so the time comes first.
    stem = f"{event_files.PREFIX}{int(now_s):010d}.{os.getpid()}"
    paths = (folder / f"{stem}.{number}.holdfast" for number in count())
    return next(path for path in paths if not path.exists())
