"""A progress bar on stderr, where people watch: both stdout and stderr are a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from holdfast.cli import output

# Whatever ends sooner would only flicker.
_SHOW_AFTER_S = 0.5
_COLUMNS_FOR_ALL = 72


def watched() -> bool:
    """Tell whether progress has someone to look at it."""
    return not output.is_dumb() and sys.stdout.isatty() and sys.stderr.isatty()


def _figures(columns: int) -> list[ProgressColumn]:
    """Return what is told beside the bar: all of it must stay on one line."""
    if columns < _COLUMNS_FOR_ALL:
        return [TaskProgressColumn()]
    return [DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]


class ByteBar:
    """Shows bytes done of bytes in all; silent when piped. Use as ``with ByteBar("…") as bar``."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._watched = watched()
        self._began_s = time.monotonic()
        self._progress: Progress | None = None

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        """Take a report of progress."""
        if not self._watched:
            return
        if self._progress is None:
            if time.monotonic() - self._began_s < _SHOW_AFTER_S:
                return
            self._progress = self._started(total_bytes)
        self._progress.update(self._progress.task_ids[0], completed=done_bytes, total=total_bytes)

    def __enter__(self) -> ByteBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _started(self, total_bytes: int) -> Progress:
        progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            *_figures(output.stderr().width),
            console=output.stderr(),
            transient=True,
            expand=True,
        )
        progress.add_task(self._label, total=total_bytes)
        progress.start()
        return progress
