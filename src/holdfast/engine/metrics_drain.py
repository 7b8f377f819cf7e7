"""The persister's side of the metrics: a thread that carries them from the ring into the store.

It appends to a live file, which becomes a segment of columns when it has grown, or when the run is
given back. Small segments, one for each start of a run, are put together in time.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from holdfast.engine.metrics_ring import MetricsRing
from holdfast.errors import DataError
from holdfast.records import metric_files
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")

PERIOD_S = 0.5
SEGMENT_BYTES = 2 << 20
# So many small segments in a row become one.
SMALL_BYTES = 64 << 10
SMALL_SEGMENTS = 8


class MetricsDrain:
    """Empties a ring into the metrics of a run, whose lock its owner holds."""

    def __init__(self, ring: MetricsRing, store: ObjectStore, run: str) -> None:
        self._ring = ring
        self._store = store
        self._run = run
        self._number = 0
        self._live_bytes = 0
        self._has_failed = False
        self._has_begun = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="holdfast-metrics", daemon=True)

    def start(self) -> None:
        """Take up what earlier writers left, and begin."""
        self._thread.start()

    def close(self) -> None:
        """Carry over what is left, and end."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        self._try(self._begin)
        while not self._stop.wait(PERIOD_S):
            self._try(self._carry)
        self._try(self._carry)
        self._try(self._seal)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
            self._has_failed = False
        except Exception as error:
            # Whatever it is: without this thread the metrics of all steps to come would be lost.
            if not self._has_failed:
                _log.warning("The metrics of run %r are held back: %s", self._run, error)
            self._has_failed = True

    def _begin(self) -> None:
        self._take_up()
        self._put_together()

    def _take_up(self) -> None:
        """Find the next free number. Without it nothing can be carried: the order would be lost."""
        segments = metric_files.listed(self._store, self._run)
        self._number = segments[-1].number + 1 if segments else 1
        self._has_begun = True
        for segment in segments:
            if segment.is_live:
                # One that cannot be read stays as it is, and is told by those who read it.
                with suppress(DataError):
                    metric_files.seal(self._store, self._run, segment.number)

    def _put_together(self) -> None:
        segments = metric_files.listed(self._store, self._run)
        is_small = itertools.takewhile(lambda s: s.size < SMALL_BYTES, reversed(segments))
        small = list(is_small)[::-1]
        if len(small) >= SMALL_SEGMENTS:
            metric_files.merge(self._store, self._run, small)

    def _carry(self) -> None:
        if not self._has_begun:
            self._take_up()
        data = self._ring.peek()
        if not data:
            return
        metric_files.append(self._store, self._run, self._number, data)
        # Afterwards: whoever comes after a persister that died in between appends it once more.
        self._ring.take(len(data))
        self._live_bytes += len(data)
        if self._live_bytes >= SEGMENT_BYTES:
            self._seal()

    def _seal(self) -> None:
        if self._live_bytes:
            with suppress(DataError):
                metric_files.seal(self._store, self._run, self._number)
            self._number += 1
            self._live_bytes = 0
