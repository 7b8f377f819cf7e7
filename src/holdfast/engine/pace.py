"""The trainer's side of the tally: steps counted, and the time for which calls hold the loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.engine.heartbeat import Heartbeat


class Pace:
    """Notes steps and what holds the loop between them.

    Args:
        heartbeat: Where it is noted.
        is_busy: Tells whether a save is under way.
    """

    def __init__(self, heartbeat: Heartbeat, is_busy: Callable[[], bool]) -> None:
        self._heartbeat = heartbeat
        self._is_busy = is_busy
        self._was_busy = False

    def begin(self) -> None:
        """Say that training begins, or goes on from another state."""
        self._heartbeat.tally.begin(time.monotonic())

    @contextmanager
    def step_ended(self, step: int) -> Iterator[float]:
        """Note that a step is done; what is done within holds the loop. Gives the time."""
        now_s = time.monotonic()
        self._heartbeat.beat(step)
        self._heartbeat.tally.count(now_s, is_busy=self._was_busy)
        yield from self._held_since(now_s)

    @contextmanager
    def held(self) -> Iterator[float]:
        """Note that what is done within holds the loop. Gives the time."""
        yield from self._held_since(time.monotonic())

    def _held_since(self, now_s: float) -> Iterator[float]:
        try:
            yield now_s
        finally:
            self._heartbeat.tally.hold(time.monotonic() - now_s)
            # The step that begins now is a busy one even if the save ends before it does.
            self._was_busy = self._is_busy()
