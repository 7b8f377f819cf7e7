"""The trainer's side of the metrics: every logged step goes into the ring, in microseconds.

A value that an accelerator has still to compute is not waited for: it is kept, and read some steps
later together with others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from holdfast.engine.metrics_ring import RING_BYTES, MetricsRing
from holdfast.format.metric_columns import beginning_line, row_line
from holdfast.state.numbers import Later, clean_metrics, read_now_or_later

_log = logging.getLogger("holdfast")

# How long values may wait to be read, in steps and in seconds.
LATER_ROWS = 64
LATER_S = 5.0
# Lines that wait for room in the ring, while the persister is held up.
WAITING_LINES = 100_000
# How long the end of training waits for a persister that takes no lines, in seconds.
PATIENCE_S = 2.0
_POLL_S = 0.05


class MetricsFeed:
    """Takes what each step has logged."""

    def __init__(self, ring: MetricsRing, incarnation: str, *, is_kept: bool = True) -> None:
        # Of several ranks, which log the same, the first one's are kept.
        self._is_kept = is_kept
        self._ring = ring
        self._incarnation = incarnation
        self._begun: int | None = -1
        self._later: list[tuple[int, int, Mapping[str, float | Later]]] = []
        self._later_since_s = 0.0
        self._waiting: deque[bytes] = deque()
        self._n_lost = 0
        self._is_putting = False
        self._newest: tuple[int, Mapping[str, float | Later]] = (-1, {})
        # A signal's handler may save, and so log, in the middle of a step's own logging.
        self._lock = threading.RLock()

    def begin(self, after_step: int) -> None:
        """Note that training goes on from a step: what was logged above it does not count."""
        self.flush()
        self._begun = after_step
        self._newest = (-1, {})

    def log(
        self, step: int, metrics: Mapping[str, Any] | None
    ) -> Mapping[str, float | Later] | None:
        """Log the metrics of a step, if there are any; return them as they were read.

        Raises:
            UsageError: A name is no str, or a value no single number; nothing was logged.
        """
        if metrics is None:
            return None
        values = read_now_or_later(metrics)
        with self._lock:
            self._log(step, time.time_ns(), values)
            self._newest = (step, {**self.of_step(step), **values})
        return values

    def of_step(self, step: int) -> Mapping[str, float | Later]:
        """Return all that was logged of a step, if no other was logged since."""
        newest, values = self._newest
        return values if newest == step else {}

    def _log(self, step: int, time_ns: int, values: Mapping[str, float | Later]) -> None:
        if not values:
            return
        if not self._later and not any(isinstance(value, Later) for value in values.values()):
            self._put_row(step, time_ns, values)
            return
        if not self._later:
            self._later_since_s = time.monotonic()
        self._later.append((step, time_ns, values))
        if len(self._later) >= LATER_ROWS or time.monotonic() - self._later_since_s > LATER_S:
            self._flush()

    def flush(self) -> None:
        """Read what was put off, and put it where it outlives this process."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        later, self._later = self._later, []
        for step, time_ns, values in later:
            self._put_row(step, time_ns, clean_metrics(values))
        if not self._is_putting:
            self._is_putting = True
            try:
                self._put_waiting()
            finally:
                self._is_putting = False

    def close(self) -> None:
        """Flush, wait for room while it comes, and say what was lost."""
        self.flush()
        until_s = time.monotonic() + PATIENCE_S
        while self._waiting and time.monotonic() < until_s:
            time.sleep(_POLL_S)
            n_waiting = len(self._waiting)
            self.flush()
            if len(self._waiting) < n_waiting:
                until_s = time.monotonic() + PATIENCE_S
        self._n_lost += len(self._waiting)
        if self._n_lost:
            _log.warning(
                "The metrics of %d step(s) were not kept: the process that writes them was held "
                "up for too long. Checkpoints are not affected.",
                self._n_lost,
            )

    def _put_row(self, step: int, time_ns: int, values: Mapping[str, Any]) -> None:
        if self._begun is not None:
            self._put(beginning_line(self._incarnation, self._begun))
            self._begun = None
        self._put(row_line(step, time_ns, values))

    def _put(self, line: bytes) -> None:
        if not self._is_kept:
            return
        # What a signal's handler logs in the middle of this waits for its end: two that fill the
        # ring at once would both count on the same place.
        if not self._is_putting:
            self._is_putting = True
            try:
                self._put_waiting()
                if not self._waiting and self._ring.put(line + b"\n"):
                    return
            finally:
                self._is_putting = False
        if len(self._waiting) == WAITING_LINES or len(line) >= RING_BYTES:
            self._n_lost += 1
            return
        self._waiting.append(line + b"\n")

    def _put_waiting(self) -> None:
        while self._waiting and self._ring.put(self._waiting[0]):
            # Behind it more may have come, before it nothing does.
            self._waiting.popleft()
