"""Failures from a trace in CSV, with the columns that public cluster traces have.

A row is a failure, or a job with a state. Its time is a number of seconds (or milliseconds,
microseconds or nanoseconds since 1970) or ISO 8601, in one of the columns of ``TIME_COLUMNS``;
where there is one of ``STATE_COLUMNS``, only jobs that failed count. A row without a time is no
failure: jobs that did not fail have no ``fail_time``, and some have no end.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from holdfast.effectiveness.failures import Replayed, replayed
from holdfast.errors import UsageError

TIME_COLUMNS = (
    *("failure_time", "fail_time", "end_time", "end", "finish_time"),
    *("time", "timestamp", "time_s", "datetime"),
)
# Every job has one of these; only a state tells whether it failed.
JOB_ENDS = ("end_time", "end", "finish_time")
BEGIN_COLUMNS = ("start_time", "submit_time", "start", "begin")
STATE_COLUMNS = ("state", "status", "exit_state", "job_state")
FAILED = {"failed", "fail", "failure", "node_fail", "node_failure", "error", "crashed"}
_NO_TIME = {"", "none", "null", "na", "n/a", "-"}
# Seconds since 1970 have ten digits for some centuries, milliseconds thirteen, and so on.
_PER_SECOND = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


def parse_trace(text: str, *, what: str) -> Replayed:
    """Return the failures of a trace; its time begins with its first row.

    Args:
        text: The CSV, with a header.
        what: Its name, for errors.

    Raises:
        UsageError: There is no column of times, a time that cannot be read, or no failure.
    """
    # As spreadsheets write it, with a mark of its encoding before the header.
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), skipinitialspace=True)
    try:
        names, rows = reader.fieldnames or (), list(reader)
    except csv.Error as error:
        raise UsageError(f"{what} is no CSV: {error}, in line {reader.line_num}.") from error
    columns = {name.strip().lower(): name for name in names if name}
    time_column = _column(columns, TIME_COLUMNS)
    if time_column is None:
        raise UsageError(
            f"{what} has no column with the times of failures. Its columns: "
            f"{', '.join(columns) or 'none'}. One of these is needed: {', '.join(TIME_COLUMNS)}.",
            columns=tuple(columns),
        )
    if len(columns) < sum(1 for name in names if name):
        raise UsageError(f"{what} has two columns of one name: {', '.join(names)}.")
    state_column = _column(columns, STATE_COLUMNS)
    begin_column = _column(columns, BEGIN_COLUMNS)
    if begin_column is not None and state_column is None and _tells_of_jobs(time_column):
        raise UsageError(
            f"{what} has jobs, with {begin_column} and {time_column}, and no column that says "
            f"which of them failed. One of these is needed: {', '.join(STATE_COLUMNS)}; or the "
            "times of failures alone in a column failure_time.",
            columns=tuple(columns),
        )
    ends = [_seconds(row, time_column, what, number) for number, row in enumerate(rows, 2)]
    begins = list(ends)
    if begin_column is not None:
        begins = [_seconds(row, begin_column, what, n) for n, row in enumerate(rows, 2)]
        _check_order(begins, ends, what, begin_column, time_column)
    failed = [
        end
        for row, end in zip(rows, ends, strict=True)
        if end is not None
        and (state_column is None or str(row[state_column]).strip().lower() in FAILED)
    ]
    if not failed:
        raise UsageError(f"{what} has {len(rows)} rows, none of which is a failure.")
    return _replayed(_known(begins), _known(ends), failed, is_of_jobs=begin_column is not None)


def _tells_of_jobs(time_column: str) -> bool:
    """Say whether a column has the ends of jobs, and not of failures alone."""
    return time_column.strip().lower() in JOB_ENDS


def _known(times: Sequence[float | None]) -> list[float]:
    return [time for time in times if time is not None]


def _check_order(
    begins: Sequence[float | None], ends: Sequence[float | None], what: str, begin: str, end: str
) -> None:
    for line, (began, ended) in enumerate(zip(begins, ends, strict=True), 2):
        if began is not None and ended is not None and ended < began:
            raise UsageError(
                f"Line {line} of {what}: {end} is before {begin}. Are the columns mixed up?",
                line=line,
            )


def _replayed(
    begins: Sequence[float], ends: Sequence[float], failed: Sequence[float], *, is_of_jobs: bool
) -> Replayed:
    first = min([*begins, *failed])
    at_s = [time - first for time in failed]
    return replayed(at_s, max(ends) - first if is_of_jobs and max(ends) > first else None)


def _column(columns: Mapping[str, str], wanted: Sequence[str]) -> str | None:
    return next((columns[name] for name in wanted if name in columns), None)


def _seconds(row: Mapping[str, str | None], column: str, what: str, line: int) -> float | None:
    text = (row[column] or "").strip()
    if text.lower() in _NO_TIME:
        return None
    try:
        number = float(text)
    except ValueError:
        number = _of_date(text, column, what, line)
    if not math.isfinite(number):
        raise _unreadable(text, column, what, line)
    return number / next((per for least, per in _PER_SECOND if abs(number) >= least), 1.0)


def _of_date(text: str, column: str, what: str, line: int) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _unreadable(text, column, what, line) from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def _unreadable(text: str, column: str, what: str, line: int) -> UsageError:
    return UsageError(
        f"Line {line} of {what}: {text!r} in the column {column!r} is no time. Times are seconds, "
        "milliseconds (or micro-, nanoseconds) since 1970, or ISO 8601.",
        line=line,
    )
